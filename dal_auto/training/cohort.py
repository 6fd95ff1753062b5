"""The healthy cohort as batches: a batch is a function of (seed, step), so that resume needs no
state of the loader.

Matched and downsampled cases are kept in a cache on disk, keyed by landmarks and configuration: no
step decodes 1 mm volumes twice, and the cohort is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from tqdm import tqdm

from dal_auto.methods.method import Batch
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
)
from dal_auto.standard_files import CaseRecord, read_array, read_case, write_array

logger = logging.getLogger(__name__)

_LOADING_PROCESSES = 2
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Cohort:
    """Cases of one training set on the grid of one configuration.

    Parameters
    ----------
    records : the cases, in a fixed order
    plans : landmarks, configuration and sequences
    cache : folder of the matched, downsampled cases
    """

    records: tuple[CaseRecord, ...]
    plans: Plans
    cache: Path

    def __len__(self) -> int:
        return len(self.records)

    def volumes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Case `index`: images (sequence, x, y, z) and brain mask (1, x, y, z), float32."""
        record = self.records[index]
        path = self.cache / f"{record.case_id}_{record.array_sha256[:16]}.b2nd"
        if not path.is_file():
            case = read_case(record)
            images = [
                image_to_configuration(
                    matched_image(case, name, self.plans), case.brain_mask, self.plans
                )
                for name in self.plans.sequences
            ]
            mask = mask_to_configuration(case.brain_mask, self.plans)
            write_array(path, torch.stack([*images, mask]).numpy().astype(np.float16))
        array = read_array(path).astype(np.float32)
        return array[:-1], array[-1:]

    def fill_cache(self) -> None:
        """Make every case's entry, with a progress bar."""
        for index in tqdm(
            range(len(self)), desc="match and downsample", unit="case", dynamic_ncols=True
        ):
            self.volumes(index)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The cases at `indices` as one batch."""
        images, masks = zip(*(self.volumes(index) for index in indices), strict=True)
        whole = torch.ones(len(images), len(self.plans.sequences), dtype=torch.bool)
        return Batch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)), whole)


def cohort_of(dataset_folder: Path, records: Sequence[CaseRecord], plans: Plans) -> Cohort:
    """A cohort whose cache lies in the dataset's preprocessed folder."""
    content = {
        "landmarks": plans.intensity.model_dump(mode="json"),
        "configuration": plans.configuration.model_dump(mode="json"),
        "sequences": plans.sequences,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    cache = dataset_folder / "cache" / f"{plans.configuration.name}_{key}"
    return Cohort(tuple(records), plans, cache)


def split_by_patient(
    records: Sequence[CaseRecord], fraction: float
) -> tuple[list[CaseRecord], list[CaseRecord]]:
    """(training, validation) cases; all cases of a patient stay together.

    A patient's side is drawn from a fixed seed, not the run's: runs of several seeds must not see
    each other's validation patients.
    """
    patients = sorted({record.patient_id for record in records})
    count = min(round(fraction * len(patients)), len(patients) - 1)
    held_out = set(np.random.default_rng(_SPLIT_SEED).permutation(patients)[:count])
    training = [record for record in records if record.patient_id not in held_out]
    return training, [record for record in records if record.patient_id in held_out]


def subjects_of_step(cases: int, batch_subjects: int, seed: int, step: int) -> list[int]:
    """Which cases step `step` sees: each epoch is a fresh permutation, drawn from (seed, epoch)."""
    per_epoch = max(1, cases // batch_subjects)
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(cases)
    start = position * batch_subjects
    return [int(order[(start + i) % cases]) for i in range(batch_subjects)]


class _StepLoader(SlimDataLoaderBase):
    """batchgenerators' loader over steps; with several processes each takes every n-th step."""

    def __init__(self, cohort: Cohort, seed: int, start: int, processes: int) -> None:
        super().__init__(cohort, cohort.plans.configuration.batch_subjects, processes)
        self._seed, self._step = seed, start
        self._stride = processes

    def set_thread_id(self, thread_id: int) -> None:
        super().set_thread_id(thread_id)
        self._step += thread_id

    def generate_train_batch(self) -> dict[str, torch.Tensor]:
        cohort: Cohort = self._data
        chosen = subjects_of_step(len(cohort), self.batch_size, self._seed, self._step)
        self._step += self._stride
        batch = cohort.batch(chosen)
        return {
            "images": batch.images,
            "brain_mask": batch.brain_mask,
            "present": batch.present,
        }


def batches(cohort: Cohort, seed: int, start: int, device: str) -> Iterator[Batch]:
    """Batches from step `start` on, without end; loaded in the background where a GPU computes."""
    if device == "cpu":
        loader = SingleThreadedAugmenter(_StepLoader(cohort, seed, start, 1), None)
    else:
        loader = MultiThreadedAugmenter(
            _StepLoader(cohort, seed, start, _LOADING_PROCESSES),
            None,
            _LOADING_PROCESSES,
            pin_memory=device.startswith("cuda"),
        )
    for batch in loader:
        yield Batch(batch["images"], batch["brain_mask"], batch["present"])
