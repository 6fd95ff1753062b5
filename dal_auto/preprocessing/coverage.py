"""Which part of the brain an image shows: what its field of view leaves out is no value of 0.

An image is 0 on the standard grid where it was not acquired, and fluid or a cavity may be 0 too.
They are told apart by shape. A field of view is convex, and so is what it can hold: a voxel of 0
that lies outside the convex hull of all that is not 0 was not acquired.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.native import NativeCase
from dal_auto.preprocessing.quality.measures import atlas_on_grid
from dal_auto.preprocessing.resampling import field_of_view, map_of_voxels
from dal_auto.volumes import box_around, whole

#: A smaller share of the brain is a rim, where two brain masks differ by a voxel.
_LEAST_SHARE = 0.01
#: An image that shows a smaller share of the brain has too few voxels of each tissue to learn
#: landmarks from: some 30 ml.
LEAST_SHOWN = 0.02
#: What lies beyond the image's own grid was not measured, rim or not: 1 ml of zeros in a brain is
#: as much as the practical threshold marks in all of a healthy one.
_LEAST_BEYOND = 0.0005
#: A voxel's value holds as far as its border.
_HALF_A_VOXEL = 0.5
#: Voxels that are looked at together: so many times the hull's sides fit into memory.
_AT_ONCE = 50_000


def parts_shown(
    native: NativeCase,
    standard: Mapping[str, FloatArray],
    target: Grid,
    atlas_to_native: Mapping[str, FloatArray],
    brain: BoolArray,
) -> dict[str, BoolArray]:
    """`part_shown` of every sequence that does not show the whole brain.

    Parameters
    ----------
    standard : by sequence: (x, y, z) on `target`, 0 outside the brain
    atlas_to_native : by sequence: (4, 4), RAS mm in the target's world → RAS mm in the image's
    """
    parts = {
        name: part_shown(
            image, native.grids[name], standard[name], target, atlas_to_native[name], brain
        )
        for name, image in native.images.items()
    }
    return {name: part for name, part in parts.items() if part is not None}


def coverage(
    native: NativeCase,
    target: Grid,
    atlas_to_native: Mapping[str, FloatArray],
    inside: Mapping[str, BoolArray],
    brain: BoolArray,
    atlas: Atlas,
) -> dict[str, float]:
    """How much of the atlas's brain lies in the field of view of every image.

    Parameters
    ----------
    inside : by sequence: (x, y, z) on `target`, the brain as far as it shows it

    Returns
    -------
    ``coverage_<sequence>`` → share, 0 to 1
    """
    expected = atlas_on_grid(atlas, target.shape).brain
    box = box_around(expected) or whole(target.shape)
    expected = expected[box]
    figures = {}
    for name, grid in native.grids.items():
        seen = field_of_view(grid, target, atlas_to_native[name], box)
        seen &= ~(brain[box] & ~inside[name][box])
        share = float((expected & seen).sum()) / max(float(expected.sum()), 1.0)
        figures[f"coverage_{name}"] = round(share, 4)
    return figures


def in_words(shown: Mapping[str, BoolArray], brain: BoolArray) -> tuple[str, ...]:
    """What was done for images that show a part of the brain only."""
    return tuple(
        f"{name} shows {min(0.99, part.sum() / brain.sum()):.0%} of the brain; nothing is marked "
        "elsewhere"
        for name, part in shown.items()
    )


def part_shown(
    image: FloatArray,
    grid: Grid,
    moved: FloatArray,
    target: Grid,
    target_to_image: FloatArray,
    brain: BoolArray,
) -> BoolArray | None:
    """The part of the brain that an image shows.

    Parameters
    ----------
    image : (x, y, z) on `grid`, background 0
    moved : (x, y, z) the same on `target`
    target_to_image : (4, 4), RAS mm in the target's world → RAS mm in the image's world
    brain : (x, y, z) on `target`, not empty

    Returns
    -------
    (x, y, z) bool on `target`; None where it shows the whole brain: up to `_LEAST_BEYOND` of it
        lies beyond the image's grid, and up to `_LEAST_SHARE` beyond its content
    """
    hidden = np.zeros(brain.shape, bool)
    box = box_around(brain) or whole(target.shape)
    hidden[box] = brain[box] & ~field_of_view(grid, target, target_to_image, box)
    if hidden.sum() < _LEAST_BEYOND * float(brain.sum()):
        hidden[:] = False
    hidden |= _beyond_content(image, grid, brain & (moved == 0), target, target_to_image, brain)
    return brain & ~hidden if hidden.any() else None


def _beyond_content(
    image: FloatArray,
    grid: Grid,
    dark: BoolArray,
    target: Grid,
    target_to_image: FloatArray,
    brain: BoolArray,
) -> BoolArray:
    """Voxels of `dark`, where the moved image is 0, beyond the hull of what the image holds; none
    where they are a rim."""
    beyond = np.zeros(brain.shape, bool)
    least = _LEAST_SHARE * float(brain.sum())
    sides = _hull(image) if dark.sum() >= least else None
    if sides is None:
        return beyond
    index = np.argwhere(dark)
    to_image = map_of_voxels(grid, target, target_to_image)
    outside = np.zeros(len(index), bool)
    for start in range(0, len(index), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        places = index[part] @ to_image[:3, :3].T + to_image[:3, 3]
        outside[part] = (places @ sides[:, :3].T + sides[:, 3]).max(axis=1) > _HALF_A_VOXEL
    if outside.sum() >= least:
        beyond[tuple(index[outside].T)] = True
    return beyond


def _hull(image: FloatArray) -> FloatArray | None:
    """(side, 4) normals (of length 1, outwards) and offsets of the convex hull of all voxels that
    are not 0, in voxels; None where they lie in one plane."""
    filled = image != 0
    rows = np.argwhere(filled.any(axis=0))
    if not len(rows):
        return None
    lines = filled[:, rows[:, 0], rows[:, 1]]
    ends = (lines.argmax(axis=0), len(lines) - 1 - lines[::-1].argmax(axis=0))
    corners = np.concatenate([np.column_stack([end, rows]) for end in ends])
    try:
        return np.unique(ConvexHull(corners).equations.round(9), axis=0)
    except QhullError:
        return None
