"""Piecewise linear histogram matching (Nyúl & Udupa 1999; Shah et al. 2011).

Standard cases carry their own percentiles, so that landmarks can be learned from them, and a case
matched to any model's landmarks, without reading the cohort again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dal_auto.case import BoolArray, FloatArray


def brain_percentiles(
    image: FloatArray, brain_mask: BoolArray, percentiles: Sequence[float]
) -> tuple[float, ...]:
    """Intensities of `image` inside the brain at `percentiles` (in percent)."""
    return tuple(float(v) for v in np.percentile(image[brain_mask], percentiles))


def learn_landmarks(
    cohort: Iterable[Sequence[float]], standard_range: tuple[float, float]
) -> tuple[float, ...]:
    """Mean position of each percentile once every case is stretched to the standard range.

    Parameters
    ----------
    cohort : for each case its intensities at the plans' percentiles
    standard_range : where the first and the last landmark come to lie

    Returns
    -------
    one landmark per percentile, increasing
    """
    rows = np.asarray(list(cohort), float)
    first, last = rows[:, :1], rows[:, -1:]
    low, high = standard_range
    stretched = low + (rows - first) / (last - first) * (high - low)
    return tuple(float(v) for v in stretched.mean(axis=0))


def match_histogram(
    image: FloatArray,
    brain_mask: BoolArray,
    percentiles: Sequence[float],
    landmarks: Sequence[float],
) -> FloatArray:
    """Carry a case's percentiles onto the landmarks, and clip to [0, 1]; outside the brain is 0.

    Between landmarks the map is linear; beyond the first and the last it goes on with the slope of
    the outer piece, so that a lesion brighter than all healthy tissue stays brighter.

    Parameters
    ----------
    image : (x, y, z) of one sequence
    percentiles : the case's own intensities at the plans' percentiles
    landmarks : where they belong
    """
    # Equal percentiles (a saturated image) would make a step of no width.
    places = np.maximum.accumulate(
        np.asarray(percentiles, float) + np.arange(len(percentiles)) * 1e-9
    )
    goals = np.asarray(landmarks, float)
    values = image[brain_mask].astype(float)
    matched = np.interp(values, places, goals)
    slope_low = (goals[1] - goals[0]) / (places[1] - places[0])
    slope_high = (goals[-1] - goals[-2]) / (places[-1] - places[-2])
    matched += np.minimum(values - places[0], 0) * slope_low
    matched += np.maximum(values - places[-1], 0) * slope_high
    result = np.zeros(image.shape, np.float32)
    result[brain_mask] = np.clip(matched, 0, 1)
    return result
