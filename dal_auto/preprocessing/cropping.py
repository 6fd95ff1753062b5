"""Centre crop or pad of the atlas grid to the target shape (paper §4.1.2)."""

from __future__ import annotations

import numpy as np

from dal_auto.case import Grid, Shape


def centre_crop_or_pad(grid: Grid, shape: Shape) -> Grid:
    """The grid of `shape` voxels with the same spacing and, up to half a voxel, the same centre.

    SRI24's 240×240×155 becomes 160×224×160: 40 voxels fewer on either side of x, 8 of y, and along
    z two more below and three more above.
    """
    start = [-((wanted - present) // 2) for wanted, present in zip(shape, grid.shape, strict=True)]
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ np.asarray(start, float)
    return Grid(shape, affine)
