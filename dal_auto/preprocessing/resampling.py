"""One interpolation from any grid to any other, through a rigid or affine map of the world."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid


def resample(
    array: FloatArray, source: Grid, target: Grid, target_to_source: FloatArray
) -> FloatArray:
    """Sample `array` at the voxels of `target`, linearly; outside of it is 0.

    Orientation needs no step of its own: the affines carry it. Where the two lattices coincide
    (a crop, a flip, a permutation of axes) the values come through unchanged.

    Parameters
    ----------
    array : (x, y, z) image on `source`
    target_to_source : (4, 4), RAS mm in the target's world → RAS mm in the source's world

    Returns
    -------
    (x, y, z) float32 on `target`
    """
    return _sample(np.asarray(array, np.float32), source, target, target_to_source, order=1)


def _sample(
    array: FloatArray, source: Grid, target: Grid, target_to_source: FloatArray, order: int
) -> FloatArray:
    voxel_map = np.linalg.inv(source.affine) @ target_to_source @ target.affine
    # Rounding keeps a lattice that coincides from being interpolated by 1e-13 of a voxel.
    voxel_map = np.round(voxel_map, 9)
    sampled = ndimage.affine_transform(
        array,
        voxel_map[:3, :3],
        voxel_map[:3, 3],
        output_shape=target.shape,
        order=order,
        mode="nearest",
        prefilter=False,
    )
    return np.where(_covered(voxel_map, source, target), sampled, array.dtype.type(0))


def _covered(voxel_map: FloatArray, source: Grid, target: Grid) -> BoolArray:
    """Which voxels of `target` have their centre inside the source's box, half a voxel of rim
    included: an image reaches as far as its outer voxels do, as in ITK."""
    index = np.ogrid[tuple(slice(size) for size in target.shape)]
    inside = np.ones(target.shape, bool)
    for row, size in zip(voxel_map[:3], source.shape, strict=True):
        place = row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3]
        inside &= (place >= -0.5) & (place <= size - 0.5)
    return inside


def resample_mask(
    mask: BoolArray, source: Grid, target: Grid, target_to_source: FloatArray
) -> BoolArray:
    """Resample a large smooth mask, a brain's: linear interpolation, cut at one half.

    Compared with nearest neighbour this keeps the surface smooth; volumes change by partial voxels
    only. Of small and ragged masks it loses much: see `resample_lesions`.
    """
    return resample(mask.astype(np.float32), source, target, target_to_source) >= 0.5


def resample_lesions(
    mask: BoolArray, source: Grid, target: Grid, target_to_source: FloatArray
) -> BoolArray:
    """Resample a lesion mask by nearest neighbour.

    Measured on the 15 MSLUB masks (1 mm) in two random poses each (10°, 15 mm):

    ==================  =====================  ==============================
    after over before   nearest neighbour      linear, cut at one half
    ==================  =====================  ==============================
    volume              1.000 (0.990–1.006)    0.954 (0.903–0.982)
    of those < 0.1 ml   1.001                  0.848
    lesions lost        9 of 2618 small ones   267 of 2618 small ones
    there and back      Dice 0.977             Dice 0.945
    ==================  =====================  ==============================
    """
    sampled = _sample(mask.astype(np.uint8), source, target, target_to_source, order=0)
    return sampled.astype(bool)
