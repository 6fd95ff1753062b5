"""One interpolation from any grid to any other, through a rigid or affine map of the world."""

from __future__ import annotations

import itertools
import math

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid, Shape

Box = tuple[slice, ...]


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
    array = np.asarray(array, np.float32)
    voxel_map = map_of_voxels(source, target, target_to_source)
    result = np.zeros(target.shape, np.float32)
    content, box = _content(array, voxel_map, target.shape)
    if all(part.start < part.stop for part in box):
        # A rim of one voxel: how ITK rounds at its border must not decide, `_covered` does.
        image = sitk.GetImageFromArray(np.pad(array[content], 1, mode="edge"))
        # The world is the source's voxels. SimpleITK counts axes from the last one on.
        image.SetOrigin([part.start - 1.0 for part in reversed(content)])
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(voxel_map[2::-1, 2::-1].ravel().tolist())
        transform.SetTranslation(voxel_map[2::-1, 3].tolist())
        size = [int(part.stop - part.start) for part in reversed(box)]
        origin = [float(part.start) for part in reversed(box)]
        sampled = sitk.Resample(image, size, transform, sitk.sitkLinear, origin)
        # Where the outermost voxels are 0, so is all that lies between them and the border.
        faces = (array[[0, -1]], array[:, [0, -1]], array[:, :, [0, -1]])
        rim = any(face.any() for face in faces)
        covered = _covered(voxel_map, source.shape, box) if rim else True
        np.copyto(result[box], sitk.GetArrayViewFromImage(sampled), where=covered)
    return result


def _content(array: FloatArray, voxel_map: FloatArray, target_shape: Shape) -> tuple[Box, Box]:
    """The box of `array` outside of which all is 0, and the target's box that it can reach.

    Most of a map, and of a stripped image, is 0: half of the work or more is saved.
    """
    ends, content, filled = [], [], array != 0
    for axis, size in enumerate(array.shape):
        found = np.flatnonzero(filled.any(axis=tuple({0, 1, 2} - {axis})))
        if not found.size:
            return (slice(0, 0),) * 3, (slice(0, 0),) * 3
        first, last = int(found[0]), int(found[-1])
        ends.append((first - 1, last + 1))  # interpolation reaches less than a voxel further
        content.append(slice(max(0, first - 1), min(size, last + 2)))
    corners = np.array([[*corner, 1] for corner in itertools.product(*ends)])
    reached = (corners @ np.linalg.inv(voxel_map).T)[:, :3]
    box = tuple(
        slice(max(0, math.floor(low)), min(size, math.ceil(high) + 1))
        for low, high, size in zip(reached.min(0), reached.max(0), target_shape, strict=True)
    )
    return tuple(content), box


def map_of_voxels(source: Grid, target: Grid, target_to_source: FloatArray) -> FloatArray:
    """(4, 4), voxels of `target` → voxels of `source`."""
    # Rounding keeps a lattice that coincides from being interpolated by 1e-13 of a voxel.
    return np.round(np.linalg.inv(source.affine) @ target_to_source @ target.affine, 9)


def _covered(voxel_map: FloatArray, source_shape: Shape, box: Box) -> BoolArray:
    """Which voxels of the target's `box` have their centre inside the source, half a voxel of rim
    included: an image reaches as far as its outer voxels do, as in ITK."""
    inside = np.ones([part.stop - part.start for part in box], bool)
    corners = np.array([[*c, 1] for c in itertools.product(*((p.start, p.stop - 1) for p in box))])
    reached = corners @ voxel_map[:3].T
    if (reached >= -0.5).all() and (reached <= np.array(source_shape) - 0.5).all():
        return inside  # the source is convex: with the corners it holds all between them
    index = np.ogrid[box]
    for row, size in zip(voxel_map[:3], source_shape, strict=True):
        place = row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3]
        inside &= (place >= -0.5) & (place <= size - 0.5)
    return inside


def field_of_view(
    source: Grid, target: Grid, target_to_source: FloatArray, box: Box | None = None
) -> BoolArray:
    """(x, y, z) bool: the voxels of `target`, or of a box of it, that an image on `source` reaches,
    rim included."""
    box = tuple(slice(0, size) for size in target.shape) if box is None else box
    return _covered(map_of_voxels(source, target, target_to_source), source.shape, box)


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
    voxel_map = map_of_voxels(source, target, target_to_source)
    sampled = ndimage.affine_transform(
        mask.astype(np.uint8),
        voxel_map[:3, :3],
        voxel_map[:3, 3],
        output_shape=target.shape,
        order=0,
        mode="nearest",
        prefilter=False,
    )
    return sampled.astype(bool) & field_of_view(source, target, target_to_source)
