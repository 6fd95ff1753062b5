"""How a run is doing on healthy patients that it does not train on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dal_auto.methods.method import RESTORATION_ERROR, Batch, GradientMethod, mean_images
from dal_auto.training.cohort import Cohort

#: Key of the mean brain's figure, beside the method's own `RESTORATION_ERROR`.
MEAN_BRAIN_ERROR = "mean_brain_error"
#: More cases would hardly move a mean.
_MOST_CASES = 32


def mean_of_training(training: Cohort, device: str) -> Tensor:
    """(sequence, x, y, z) mean of the first training cases: what a restoration must come closer
    than."""
    few = range(min(len(training), _MOST_CASES))
    return mean_images(training.batch([index]) for index in few).to(device)


@torch.no_grad()
def validate(
    method: GradientMethod, validation: Cohort, training: Cohort, mean: Tensor, device: str
) -> dict[str, float]:
    """Losses, the method's own figures, and the mean brain's error, averaged over pairs of
    validation cases.

    Without validation cases the first training cases stand in, which watches for collapse but says
    nothing of generalisation.

    Parameters
    ----------
    mean : (sequence, x, y, z), `mean_of_training` of the training cases
    """
    cohort = validation if len(validation) else training
    size = cohort.plans.configuration.batch_subjects
    starts = range(0, min(len(cohort), _MOST_CASES), size)
    method.network.eval()
    totals: dict[str, float] = {}
    for start in starts:
        batch = _pair(cohort, start).to(device)
        figures = method.training_step(batch, method.plans.training.steps) | method.watch(batch)
        figures[MEAN_BRAIN_ERROR] = _error_of(mean, batch)
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + float(value) / len(starts)
    return totals


def _error_of(mean: Tensor, batch: Batch) -> Tensor:
    """Mean |x − mean| of the brain over the images that are there."""
    inside = batch.brain_mask * batch.present[..., None, None, None]
    return ((batch.images - mean).abs() * inside).sum() / inside.sum().clamp(min=1)


def beside_the_mean_brain(figures: Mapping[str, float]) -> tuple[str, bool] | None:
    """What the restoration's error is beside the mean brain's, and whether it is no better.

    Returns
    -------
    None where the method does not watch ``restoration_error``
    """
    if RESTORATION_ERROR not in figures:
        return None
    mine, other = figures[RESTORATION_ERROR], figures[MEAN_BRAIN_ERROR]
    words = f"restored images are {mine:.3f} off in the mean, the mean brain {other:.3f}"
    return words, mine >= other


def first_pair(validation: Cohort, training: Cohort) -> Batch:
    """The cases that pictures show: always the same ones."""
    return _pair(validation if len(validation) else training, 0)


def _pair(cohort: Cohort, start: int) -> Batch:
    size = cohort.plans.configuration.batch_subjects
    return cohort.batch([(start + i) % len(cohort) for i in range(size)])
