"""One anomaly map per patient, of the maps of several sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from dal_auto.case import FloatArray

JointRule = Literal["mean", "max"]


def joint_score(
    scores: Mapping[str, FloatArray], thresholds: Mapping[str, float], rule: JointRule
) -> FloatArray:
    """The scores of several sequences as one, in multiples of their thresholds.

    A score says nothing across sequences; divided by its practical threshold it does: 1 is what the
    same share of healthy voxels exceeds in each.

    Parameters
    ----------
    scores : sequence → (x, y, z) ≥ 0, all on one grid
    thresholds : sequence → practical threshold, > 0
    rule : "mean" of the calibrated scores, or their "max"

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
    joined = np.maximum.reduce(calibrated) if rule == "max" else np.mean(calibrated, axis=0)
    return np.asarray(joined, np.float32)
