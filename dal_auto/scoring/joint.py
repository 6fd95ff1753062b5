"""One anomaly map per patient, of the maps of several sequences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from dal_auto.case import BoolArray, FloatArray
from dal_auto.scoring.pooled_curve import LARGEST

JointRule = Literal["roots", "mean", "max"]


def joint_key(sequences: Iterable[str]) -> str:
    """What the joint map of some sequences is called among thresholds: "FLAIR+T1+T2"."""
    return "+".join(sorted(sequences))


def joint_score(
    scores: Mapping[str, FloatArray],
    thresholds: Mapping[str, float],
    rule: JointRule,
    weights: Mapping[str, float] | None = None,
    shown: Mapping[str, BoolArray] | None = None,
    threshold: float = 1.0,
) -> FloatArray:
    """The scores of several sequences as one, in multiples of its threshold.

    A score says nothing across sequences; divided by its practical threshold it does: 1 is what the
    same share of healthy voxels exceeds in each. In a mean of square roots what several sequences
    mark counts for more than what one marks alone. Sequences seldom err at one place, so that a
    much smaller share of healthy voxels exceeds 1 in the joint map: it has a threshold of its own.

    Parameters
    ----------
    scores : sequence → (x, y, z) ≥ 0, all on one grid
    thresholds : sequence → practical threshold, > 0
    rule : "roots", the squared mean of the square roots of the calibrated scores; their "mean", or
        their "max", which knows no weights
    weights : sequence → how much it counts in a mean, ≥ 0; by default, and where a sequence has
        none, 1
    shown : sequence → (x, y, z) where it has a score; sequences that are not named have one
        everywhere
    threshold : of the joint map itself, in multiples of the sequences' thresholds; > 0

    Returns
    -------
    (x, y, z) float32, 0 … 65504, which is as far as scores are told apart; 1 is its threshold

    Raises
    ------
    ValueError
        if there is no score, or the grids differ.
    """
    if not scores or len({score.shape for score in scores.values()}) > 1:
        raise ValueError("the scores of one patient are wanted, all on one grid")
    calibrated = {
        name: score.astype(np.float32) / np.float32(thresholds[name])
        for name, score in scores.items()
    }
    if rule == "max":
        return _within_range(np.maximum.reduce([*calibrated.values()]) / np.float32(threshold))
    total = np.zeros((), np.float32)
    weight_sum = np.zeros((), np.float32)
    for name, score in calibrated.items():
        weight = np.float32((weights or {}).get(name, 1.0))
        total = total + weight * (np.sqrt(score) if rule == "roots" else score)
        weight_sum = weight_sum + weight * (shown or {}).get(name, np.True_)
    mean = np.divide(total, weight_sum, out=np.zeros_like(total), where=weight_sum > 0)
    return _within_range((mean**2 if rule == "roots" else mean) / np.float32(threshold))


def _within_range(score: FloatArray) -> FloatArray:
    """Of a sequence whose healthy scores are all but 0 the multiples may be millions."""
    return np.minimum(score, np.float32(LARGEST), dtype=np.float32)
