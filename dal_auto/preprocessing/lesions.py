"""The lesion mask on the standard grid, and what resampling did to it."""

from __future__ import annotations

import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.resampling import resample_lesions
from dal_auto.volumes import components

#: Lesions below this are reported by themselves: a few voxels, which resampling may drop.
SMALL_LESION_ML = 0.1


def small_lesions(mask: BoolArray, grid: Grid) -> BoolArray:
    """The components of `mask` that are smaller than `SMALL_LESION_ML`."""
    labels, sizes = components(mask)
    small = np.concatenate([[False], sizes * grid.voxel_ml < SMALL_LESION_ML])
    return small[labels]


def move_lesion_mask(
    mask: BoolArray, native: Grid, target: Grid, target_to_native: FloatArray, brain: BoolArray
) -> tuple[BoolArray, dict[str, float]]:
    """Resample a lesion mask, and say what became of its lesions.

    Parameters
    ----------
    mask : (x, y, z) on `native`
    target_to_native : (4, 4), RAS mm in the target's world → RAS mm in the native one
    brain : (x, y, z) on `target`

    Returns
    -------
    the mask on `target`
    volumes in ml and numbers of lesions, before (``_native``) and after: of all, and of those that
    were smaller than `SMALL_LESION_ML` alone (moved by themselves); and the share of the moved mask
    outside the brain
    """
    moved = resample_lesions(mask, native, target, target_to_native)
    small = small_lesions(mask, native)
    moved_small = resample_lesions(small, native, target, target_to_native)
    figures: dict[str, float] = {}
    for name, before, after in (("", mask, moved), ("small_", small, moved_small)):
        figures |= {
            f"{name}lesion_ml_native": float(before.sum()) * native.voxel_ml,
            f"{name}lesion_ml": float(after.sum()) * target.voxel_ml,
            f"{name}lesions_native": float(len(components(before)[1])),
            f"{name}lesions": float(len(components(after)[1])),
        }
    outside = float((moved & ~brain).sum())
    figures["lesion_outside_brain_share"] = outside / max(float(moved.sum()), 1.0)
    return moved, {name: round(value, 4) for name, value in figures.items()}
