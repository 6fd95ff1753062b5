"""How many steps of a method fit a budget of CPU seconds: a few are taken, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Batch, CohortMethod, GradientMethod, Method
from dal_auto.methods.registry import find_method
from dal_auto.methods.self_trained import SELF_TRAINED
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.wishes import Wishes
from dal_auto.plans import Plans
from dal_auto.preprocessing.stored import case_records, folder_of
from dal_auto.store.runs import Run
from dal_auto.store.standard_cases import read_case
from dal_auto.training.cohort import Cohort, cohort_of, split_by_patient
from dal_auto.training.drawn.dataset import drawn_cohort
from dal_auto.training.loading import Share
from dal_auto.training.malloc import keep_freed_memory
from dal_auto.training.optimisation import Optimiser
from dal_auto.training.run import plan_training

SEQUENCES = ("T1", "T2", "FLAIR")
_TRUNK = "method.settings.self_trained.steps"
_DISTILLATION = "method.settings.distillation_steps"
#: Timed at either end of the training: some methods change on the way.
_TIMED, _LONG_ENOUGH = 6, 2.0


@dataclass(frozen=True)
class Timed:
    """CPU seconds.

    Parameters
    ----------
    fixed : before the first step, whatever the number of steps
    preliminary : of a step of the features that a method learns first; 0 where it learns none
    step : of a training step; 0 of a method that is fitted in one pass
    """

    fixed: float
    preliminary: float
    step: float

    def steps(self, seconds: float) -> tuple[int, int]:
        """(preliminary, proper) steps that fit: half of the time for each where there are both."""
        left = max(0.0, seconds - self.fixed)
        share = left / 2 if self.preliminary and self.step else left
        preliminary = int(share / self.preliminary) if self.preliminary else 0
        return preliminary, int(share / self.step) if self.step else 0


def preliminary_keys(method: str, changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the steps of what a method learns before its training proper."""
    keys: tuple[str, ...] = (_DISTILLATION,) if method == "EfficientAD" else ()
    if changes.get("method.settings.features") == SELF_TRAINED:
        keys += (_TRUNK,)
    return keys


def planned(
    training_set: str,
    method: str,
    changes: Mapping[str, Any],
    sequences: Sequence[str] = SEQUENCES,
) -> tuple[Plans, Mapping[str, Any]]:
    """Plans of `demo`, and what of them was asked for."""
    wishes = Wishes(tuple(sequences), "demo", method, assignments=changes)
    run = plan_training(training_set, wishes=wishes, hardware=Hardware.measure("cpu"))
    return run.plans, run.overrides


def timed(training_set: str, method: str, changes: Mapping[str, Any]) -> Timed:
    """Take a few steps on the CPU, and time them.

    Parameters
    ----------
    changes : dotted key → value of the plans
    """
    keep_freed_memory()
    before = preliminary_keys(method, changes)
    few, none = ({**changes, **dict.fromkeys(before, number)} for number in (_TIMED, 0))
    plans, _ = planned(training_set, method, none)
    records, _ = split_by_patient(case_records(training_set), plans.training.validation_fraction)
    cohort = cohort_of(folder_of(training_set), records, plans)
    cohort.fill_cache()
    fixed, made = _prepared(plans, cohort)
    preliminary = 0.0
    if before:
        longer, _ = _prepared(planned(training_set, method, few)[0], cohort)
        preliminary = max(0.0, longer - fixed) / _TIMED
    if not isinstance(made, GradientMethod):
        return Timed(fixed, preliminary, 0.0)
    drawn = drawn_cohort(plans, {record.patient_id for record in records})
    assert drawn is not None, "the benchmark trains on the drawn cohort"
    drawn.pool.fill()
    made.learn_atlas(drawn.pool.tissue_fractions())
    optimiser = Optimiser(made, "cpu")
    stream = drawn.batches(0, 0, "cpu", Share())

    def step(number: int) -> None:
        optimiser.step([next(stream)], number, 0)

    ends = (0, plans.training.steps - 1)
    seconds = [_seconds_of(partial(step, number)) for number in ends]
    stream.close()
    return Timed(fixed, preliminary, sum(seconds) / len(seconds))


def seconds_of_an_image(run: Run, dataset: str) -> float:
    """CPU seconds of a prediction: the first case of a dataset, its first sequence."""
    method = load_checkpoint(run.checkpoint_path).build("cpu")
    case = read_case(case_records(dataset)[0])
    start = time.process_time()
    predict(method, case, case.sequences[0], "cpu")
    return time.process_time() - start


def _prepared(plans: Plans, cohort: Cohort) -> tuple[float, Method]:
    """CPU seconds until the first step, and the method."""
    torch.manual_seed(0)
    start = time.process_time()
    method = find_method(plans.method.name)(plans)
    batches: list[Batch] = [cohort.batch([index]) for index in range(len(cohort))]
    if isinstance(method, GradientMethod):
        method.prepare(iter(batches))
    elif isinstance(method, CohortMethod):
        method.fit_cohort(iter(batches))
    return time.process_time() - start, method


def _seconds_of(step: Callable[[], object]) -> float:
    """CPU seconds of a step, the mean over some, after one that does not count."""
    step()
    start, number = time.process_time(), 0
    while number < _TIMED and time.process_time() - start < _LONG_ENOUGH:
        step()
        number += 1
    return (time.process_time() - start) / number
