"""What a step sees: batches as a function of (seed, step), so that resume needs no state."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from dal_auto.methods.method import Batch
from dal_auto.training.augmentation import augmented, is_on
from dal_auto.training.cohort import Cohort

#: Reading takes less time than computing; augmentation may take more.
_LOADING_PROCESSES, _AUGMENTING_PROCESSES = 2, 6


@dataclass(frozen=True)
class Share:
    """Which of the processes that train together this one is."""

    rank: int = 0
    processes: int = 1


def subjects_of_step(cases: int, subjects: int, seed: int, step: int) -> list[int]:
    """Which cases step `step` sees: each epoch is a fresh permutation, drawn from (seed, epoch).

    Parameters
    ----------
    cases : of the cohort
    subjects : of a step, over all its batches and processes
    """
    per_epoch = max(1, cases // subjects)
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(cases)
    start = position * subjects
    return [int(order[(start + i) % cases]) for i in range(subjects)]


def subjects_of_batch(
    cohort: Cohort, seed: int, step: int, number: int, share: Share
) -> tuple[int, list[int]]:
    """Batch `number` of a step, as far as it is this process's: place in the step, and cases.

    A step's subjects lie in one row: those of the first batch of all processes, then those of the
    second, so that a batch over all processes is what one process would see.
    """
    size = cohort.plans.configuration.batch_subjects
    accumulation = cohort.plans.training.accumulation
    all_of_step = subjects_of_step(len(cohort), size * share.processes * accumulation, seed, step)
    start = (number * share.processes + share.rank) * size
    return start, all_of_step[start : start + size]


class _Loader(SlimDataLoaderBase):
    """batchgenerators' loader; of several processes that load, each takes every n-th batch.

    Arrays, not tensors: torch hands tensors between processes through the sender, and one that is
    stopped while another still unpacks its last tensor leaves a FileNotFoundError behind.
    """

    def __init__(self, cohort: Cohort, seed: int, start: int, share: Share, processes: int) -> None:
        super().__init__(cohort, cohort.plans.configuration.batch_subjects, processes)
        self._seed, self._share, self._stride = seed, share, processes
        self._batch = start * cohort.plans.training.accumulation

    def set_thread_id(self, thread_id: int) -> None:
        super().set_thread_id(thread_id)
        self._batch += thread_id

    def generate_train_batch(self) -> dict[str, np.ndarray]:
        cohort: Cohort = self._data
        training = cohort.plans.training
        step, number = divmod(self._batch, training.accumulation)
        self._batch += self._stride
        first, chosen = subjects_of_batch(cohort, self._seed, step, number, self._share)
        loaded = [cohort.volumes(index) for index in chosen]
        if is_on(training.augmentation):
            loaded = [
                augmented(*volumes, training.augmentation, (self._seed, step, first + place))
                for place, volumes in enumerate(loaded)
            ]
        images, masks = zip(*loaded, strict=True)
        return {
            "images": np.stack(images),
            "brain_mask": np.stack(masks),
            "present": np.array([cohort.present(index) for index in chosen], dtype=bool),
        }


def batches(
    cohort: Cohort, seed: int, start: int, device: str, share: Share | None = None
) -> Generator[Batch]:
    """Batches from step `start` on, without end: `training.accumulation` of them for each step.

    In the background where a GPU computes, or where augmentation takes time; on a CPU that trains,
    reading would only take cores from the training.
    """
    share = share or Share()
    augmenting = is_on(cohort.plans.training.augmentation)
    loader: SingleThreadedAugmenter | MultiThreadedAugmenter
    if device == "cpu":
        loader = SingleThreadedAugmenter(_Loader(cohort, seed, start, share, 1), None)
    else:
        processes = _AUGMENTING_PROCESSES if augmenting else _LOADING_PROCESSES
        loader = MultiThreadedAugmenter(
            _Loader(cohort, seed, start, share, processes), None, processes
        )
    try:
        for loaded in loader:
            yield _batch_of([loaded[key] for key in ("images", "brain_mask", "present")], device)
    finally:
        if isinstance(loader, MultiThreadedAugmenter):
            loader._finish()


def _batch_of(arrays: Sequence[np.ndarray], device: str) -> Batch:
    tensors = [torch.from_numpy(array) for array in arrays]
    if device.startswith("cuda"):
        tensors = [tensor.pin_memory() for tensor in tensors]  # else the copy would not overlap
    return Batch(*tensors)
