"""Metrics of pooled scores (§4.2.2), exact for the rounded scores that `ScoreCounts` holds.

A voxel is called positive where its score is at least the threshold. Thresholds are bin values,
see `scores_of_bins`. Metrics that need lesion voxels are NaN where there are none.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dal_auto.scoring.pooled_curve import IntArray, ScoreCounts, scores_of_bins

FloatArray = npt.NDArray[np.float64]


def average_precision(counts: ScoreCounts) -> float:
    """Area under the precision–recall curve, as a sum of steps.

    AP = Σ (R_k − R_{k−1})·P_k over falling thresholds, ties taken together: the definition of
    sklearn.metrics.average_precision_score.

    Returns
    -------
    in (0, 1], or NaN if there are no lesion voxels
    """
    lesions = counts.lesion.sum()
    if not lesions:
        return float("nan")
    steps = counts.lesion > 0
    precision = _at_least(counts.lesion)[steps] / _at_least(counts.lesion + counts.normal)[steps]
    return float(counts.lesion[steps] @ precision / lesions)


def precision_recall(counts: ScoreCounts) -> tuple[FloatArray, FloatArray]:
    """The pooled precision–recall curve, one point per score that occurs, recall rising.

    Returns
    -------
    recall, precision : each in [0, 1]; empty if there are no lesion voxels
    """
    occurs = (counts.lesion + counts.normal) > 0
    if not counts.lesion.any():
        return np.empty(0), np.empty(0)
    hits = _at_least(counts.lesion)[occurs][::-1]
    called = _at_least(counts.lesion + counts.normal)[occurs][::-1]
    return hits / counts.lesion.sum(), hits / called


def thinned(
    recall: FloatArray, precision: FloatArray, points: int = 1000
) -> tuple[FloatArray, FloatArray]:
    """A curve with at most about `points` points, for drawing: of equal rounded recalls the last.

    Parameters
    ----------
    recall, precision : of `precision_recall`
    """
    steps = np.round(recall * points)
    keep = np.append(steps[1:] != steps[:-1], True)[: recall.size]
    return recall[keep], precision[keep]


def score_quantile(counts: ScoreCounts, share: float) -> float:
    """Smallest score that at least `share` of all voxels do not exceed; NaN without voxels.

    The inverse of the distribution, as `numpy.quantile` with method "inverted_cdf".
    """
    below = np.cumsum(counts.lesion + counts.normal)
    if not below[-1]:
        return float("nan")
    return float(scores_of_bins()[np.searchsorted(below, share * below[-1])])


def auroc(counts: ScoreCounts) -> float:
    """Probability that a lesion voxel scores higher than a normal one, ties counting half.

    Returns
    -------
    in [0, 1], or NaN if there are no lesion voxels or no normal ones
    """
    lesions, normals = counts.lesion.sum(), counts.normal.sum()
    if not lesions or not normals:
        return float("nan")
    normals_below = np.cumsum(counts.normal) - counts.normal
    # Divided before summed: products of two pooled counts come near the limit of int64.
    wins = (normals_below + counts.normal / 2) / normals
    return float(counts.lesion @ wins / lesions)


def dice_curve(counts: ScoreCounts) -> FloatArray:
    """Dice coefficient at each bin's score as the threshold.

    Returns
    -------
    (31745,) in [0, 1]; 1 where neither a lesion exists nor anything is called positive
    """
    hits = _at_least(counts.lesion)
    sizes = _at_least(counts.lesion + counts.normal) + counts.lesion.sum()
    return np.divide(2 * hits, sizes, out=np.ones(len(sizes)), where=sizes > 0)


def dice_at(counts: ScoreCounts, threshold: float) -> float:
    """Dice coefficient of the voxels with (rounded) score ≥ `threshold`, as in `dice_curve`.

    Raises
    ------
    ValueError
        if the threshold is NaN
    """
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN; no mask follows from it")
    return float(dice_curve(counts)[np.searchsorted(scores_of_bins(), threshold)])


def best_dice(counts: ScoreCounts) -> tuple[float, float]:
    """Best Dice over all thresholds with all voxels pooled, and the threshold that gives it.

    Of several best thresholds the largest, which is a score that occurs.

    Returns
    -------
    (Dice, threshold), both NaN if there are no lesion voxels
    """
    return best_mean_dice([counts])


def best_mean_dice(subjects: Iterable[ScoreCounts]) -> tuple[float, float]:
    """Best mean Dice over subjects at one threshold for all, and that threshold (§4.2.2).

    Subjects without lesion voxels are left out: their Dice is 0 or undefined at any threshold.
    Of several best thresholds the largest, which is a score that occurs.

    Returns
    -------
    (mean Dice, threshold), both NaN if no subject has lesion voxels
    """
    total, number = np.zeros(len(scores_of_bins())), 0
    for counts in subjects:
        if counts.lesion.any():
            total += dice_curve(counts)
            number += 1
    if not number:
        return float("nan"), float("nan")
    best = len(total) - 1 - int(np.argmax(total[::-1]))
    return float(total[best] / number), float(scores_of_bins()[best])


def false_positive_voxels(counts: ScoreCounts, threshold: float) -> int:
    """Number of normal voxels with (rounded) score ≥ `threshold`.

    Raises
    ------
    ValueError
        if the threshold is NaN
    """
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN; no mask follows from it")
    return int(counts.normal[np.searchsorted(scores_of_bins(), threshold) :].sum())


def threshold_at_false_positive_rate(counts: ScoreCounts, rate: float) -> float:
    """Smallest threshold that at most this share of the normal voxels reaches.

    For thresholds from healthy cases, where no lesion says which one is best.

    Parameters
    ----------
    rate : share of normal voxels, 0 … 1

    Returns
    -------
    a bin's score; inf if too many voxels have the largest score that exists

    Raises
    ------
    ValueError
        if there are no normal voxels, or for a rate outside 0 … 1
    """
    normals = counts.normal.sum()
    if not normals or not 0 <= rate <= 1:
        raise ValueError(f"no threshold has a false-positive rate of {rate} in {normals} voxels")
    low_enough = _at_least(counts.normal) / normals <= rate
    return float(scores_of_bins()[np.argmax(low_enough)])


def _at_least(counts: IntArray) -> IntArray:
    """Number of voxels with the score of each bin or a larger one, for (31745,) counts."""
    return np.cumsum(counts[::-1])[::-1]
