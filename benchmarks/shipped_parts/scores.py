"""What a model and the plain intensity find in a case, and in a group of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dal_auto.case import FloatArray, StandardCase
from dal_auto.inference.predictor import (
    Prediction,
    filtered,
    on_the_grid,
    predict,
    windows_of,
)
from dal_auto.methods.method import Method
from dal_auto.preprocessing.configuration_grid import matched_image, to_standard
from dal_auto.scoring.bootstrap import interval, resampled_average_precision
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.metrics import average_precision, dice_at, false_positive_voxels
from dal_auto.scoring.pooled_curve import ScoreCounts, scores_of_bins

_VOXELS_PER_ML = 1000


@dataclass(frozen=True, eq=False)
class Found:
    """The scores of one case and sequence, counted on the standard grid of 1 mm.

    Parameters
    ----------
    method, bright, dark : the model's score; the filtered intensity in both polarities
    error : mean |x_r − x| of the normal voxels
    """

    group: str
    case: str
    sequence: str
    lesion_ml: float
    method: ScoreCounts
    bright: ScoreCounts
    dark: ScoreCounts
    error: float


def scored(
    group: str, case: StandardCase, method: Method, sequence: str
) -> tuple[Found, Prediction]:
    """One sequence of a case."""
    prediction = predict(method, case, sequence, "cpu")
    lesion = case.lesion_mask
    lesion = np.zeros_like(case.brain_mask) if lesion is None else lesion
    image, brain = prediction.image, case.brain_mask
    assert prediction.pseudo_healthy is not None, "only methods that restore are scored here"
    normal = brain & ~lesion
    found = Found(
        group=group,
        case=case.case_id,
        sequence=sequence,
        lesion_ml=float(lesion.sum()) / _VOXELS_PER_ML,
        method=ScoreCounts.from_volume(prediction.anomaly[""], lesion),
        bright=ScoreCounts.from_volume(_filtered(image, brain, method), lesion),
        dark=ScoreCounts.from_volume(_filtered((1 - image) * brain, brain, method), lesion),
        error=float(np.abs(prediction.pseudo_healthy - image)[normal].mean()),
    )
    return found, prediction


@dataclass(frozen=True, eq=False)
class Unfiltered:
    """What a method says of one sequence of a case, on the standard grid, before the filters.

    Parameters
    ----------
    image : (x, y, z), matched
    brain : the same, bool, as far as the sequence shows it
    scores : variant → (x, y, z)
    """

    image: torch.Tensor
    brain: torch.Tensor
    scores: Mapping[str, torch.Tensor]


def unfiltered(method: Method, case: StandardCase, sequence: str) -> Unfiltered:
    """Scores that are to be filtered in several ways, or as another model's plans say."""
    plans = method.plans
    image, shown = matched_image(case, sequence, plans), case.brain_of(sequence)
    given = on_the_grid(image, shown, plans, "cpu")
    found = method.detect(*given, sequence, windows_of(plans, "cpu"))
    scores = {name: to_standard(score, plans) for name, score in found.scores.items()}
    return Unfiltered(image, torch.from_numpy(shown), scores)


def marked_ml(found: Found, threshold: float) -> float:
    """Millilitres of normal voxels at or above the threshold."""
    return false_positive_voxels(found.method, threshold) / _VOXELS_PER_ML


@dataclass(frozen=True)
class Marked:
    """What lies at or above a threshold: Dice and share of the lesion in %, ml outside it."""

    dice: float
    lesion: float
    outside_ml: float


def marked(found: Found, threshold: float) -> Marked:
    """What the mask at a threshold has of a case with a lesion."""
    counts = found.method
    hits = counts.lesion[np.searchsorted(scores_of_bins(), threshold) :].sum()
    return Marked(
        dice=100 * dice_at(counts, threshold),
        lesion=100 * float(hits / counts.lesion.sum()),
        outside_ml=marked_ml(found, threshold),
    )


def percent(counts: ScoreCounts) -> float:
    """Average precision in %."""
    return 100 * average_precision(counts)


@dataclass(frozen=True)
class Pooled:
    """A group's figures in one sequence, in % of average precision.

    Parameters
    ----------
    gain : 95 % interval of the model's gain over the better polarity; NaN for a single case
    """

    method: float
    bright: float
    dark: float
    gain: tuple[float, float]


def pooled(cases: Sequence[Found]) -> Pooled:
    """All voxels of several cases of one sequence together."""
    packed: Mapping[str, CaseCounts] = {
        kind: CaseCounts.pack(getattr(one, kind) for one in cases)
        for kind in ("method", "bright", "dark")
    }
    figures = {kind: percent(counts.pooled()) for kind, counts in packed.items()}
    better = max("bright", "dark", key=figures.__getitem__)
    names = [one.case for one in cases]
    resampled = {
        kind: resampled_average_precision(packed[kind], names) for kind in ("method", better)
    }
    low, high = interval(resampled["method"] - resampled[better])
    return Pooled(**figures, gain=(100 * low, 100 * high))


def _filtered(image: FloatArray, brain: np.ndarray, method: Method) -> FloatArray:
    """An image with the score's filters, (x, y, z) on the grid of 1 mm."""
    volume = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    return filtered(volume, volume, torch.from_numpy(brain), method.plans.scoring)
