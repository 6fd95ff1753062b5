"""How much of a lesion, and how much of a field, is left after N4.

An image with a lesion and its healthy twin (same field, same noise) go the same way. What the
correction does to one and not to the other, it does because of the lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.preprocessing.quality.measures import masked_block_mean

#: The tissue around a lesion, in mm from it.
RING_MM = (4.0, 20.0)
_STEP = 2  # every second voxel of 1 mm
_BLOCK = 8


@dataclass(frozen=True, eq=False)
class Pair:
    """An image on the target grid before and after, with a lesion and without."""

    ill: tuple[FloatArray, FloatArray]
    well: tuple[FloatArray, FloatArray]


def contrast_kept(
    pair: Pair, clean_log_contrast: float, lesion: BoolArray, brain: BoolArray
) -> float:
    """Log contrast of the lesion against the tissue around it, after over before.

    Parameters
    ----------
    clean_log_contrast : of the lesion against the healthy tissue that it replaced
    lesion, brain : (x, y, z)
    """
    thin = (slice(None, None, _STEP),) * 3
    lesion, brain = lesion[thin], brain[thin]
    distance_mm = _STEP * ndimage.distance_transform_edt(~lesion)
    ring = brain & (distance_mm > RING_MM[0]) & (distance_mm < RING_MM[1])

    def gain(images: tuple[FloatArray, FloatArray]) -> FloatArray:
        before, after = (np.maximum(image[thin], 1e-6) for image in images)
        return np.log(after / before)

    moved = gain(pair.ill) - gain(pair.well)
    return float(1 + (np.median(moved[lesion]) - np.median(moved[ring])) / clean_log_contrast)


def residual_cv(corrected: FloatArray, healthy: FloatArray, brain: BoolArray) -> float:
    """Standard deviation of the log of what still multiplies the true image, in blocks of 8 mm."""
    above, inside = masked_block_mean(corrected, brain, _BLOCK)
    below, _ = masked_block_mean(healthy, brain, _BLOCK)
    inside &= (above > 0) & (below > 0)
    return float(np.log(above[inside] / below[inside]).std())


def landmark_shift(ill: tuple[float, ...], well: tuple[float, ...]) -> float:
    """Mean distance between the percentiles of an ill image and of its healthy twin, as a share of
    the twin's range: how far matching moves healthy tissue."""
    there, here = np.asarray(ill), np.asarray(well)
    return float(np.abs(there - here).mean() / (here[-1] - here[0]))


def summary(rows: list[Mapping[str, float]], key: str) -> list[float]:
    """The numbers under `key` that are there."""
    return [row[key] for row in rows if key in row]
