"""One anomaly map per patient, of the maps of several sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from dal_auto.case import BoolArray, FloatArray

JointRule = Literal["mean", "max"]


def joint_score(
    scores: Mapping[str, FloatArray],
    thresholds: Mapping[str, float],
    rule: JointRule,
    shown: Mapping[str, BoolArray] | None = None,
) -> FloatArray:
    """The scores of several sequences as one, in multiples of their thresholds.

    A score says nothing across sequences; divided by its practical threshold it does: 1 is what the
    same share of healthy voxels exceeds in each.

    Parameters
    ----------
    scores : sequence → (x, y, z) ≥ 0, all on one grid
    thresholds : sequence → practical threshold, > 0
    rule : "mean" of the calibrated scores, or their "max"
    shown : sequence → (x, y, z) where it has a score; sequences that are not named have one
        everywhere

    Returns
    -------
    (x, y, z) float32 ≥ 0

    Raises
    ------
    ValueError
        if there is no score, or the grids differ.
    """
    if not scores or len({score.shape for score in scores.values()}) > 1:
        raise ValueError("the scores of one patient are wanted, all on one grid")
    calibrated = [
        score.astype(np.float32) / np.float32(thresholds[name]) for name, score in scores.items()
    ]
    if rule == "max":
        return np.asarray(np.maximum.reduce(calibrated), np.float32)
    parts = {name: part for name, part in (shown or {}).items() if name in scores}
    if not parts:
        return np.asarray(np.mean(calibrated, axis=0), np.float32)
    whole = len(scores) - len(parts)
    count = whole + np.sum([*parts.values()], axis=0, dtype=np.float32)
    return np.asarray(np.sum(calibrated, axis=0) / np.maximum(count, 1), np.float32)
