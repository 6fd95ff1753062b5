"""Lattices whose axes are not at right angles, as tilted gantries and affine registrations leave.

N4, greedy and ITK take a grid as a rotation and three spacings. The nearest such grid is that of
the polar decomposition: of all rotations it is the one nearest to the directions of the axes.
"""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np

from dal_auto.case import FloatArray, Grid

#: Axes that are off a right angle by more than this are no scanner's.
MOST_SHEAR_DEGREES = 45.0
#: Where both grids place every voxel within this share of the smallest voxel, they are one.
_NEGLIGIBLE_VOXELS = 0.5
_SINGLE_PRECISION_MM = 1e-3


def shear_degrees(affine: FloatArray) -> float:
    """How far the angle between two axes is from 90°, at most."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    products = (directions.T @ directions)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(np.clip(np.abs(products), 0, 1))).max())


def shear_mm(grid: Grid) -> float:
    """Distance between the places that a grid and the nearest one at right angles give a corner."""
    corners = _corners(grid)
    apart = nib.affines.apply_affine(grid.affine, corners) - nib.affines.apply_affine(
        _orthogonal(grid), corners
    )
    return float(np.linalg.norm(apart, axis=1).max())


def is_sheared(grid: Grid) -> bool:
    """Whether voxels have to be resampled for the grid to be at right angles."""
    return shear_mm(grid) > _NEGLIGIBLE_VOXELS * min(grid.spacing_mm)


def at_right_angles(grid: Grid) -> Grid:
    """The nearest grid whose axes are at right angles, about the same centre.

    It has the same voxels where that moves none by more than half a voxel, see `is_sheared`;
    otherwise as many more as it takes to hold all that the sheared grid holds.
    """
    if shear_mm(grid) < _SINGLE_PRECISION_MM:
        return grid
    affine = _orthogonal(grid)
    if not is_sheared(grid):
        return Grid(grid.shape, affine)
    ends = nib.affines.apply_affine(np.linalg.inv(affine) @ grid.affine, _corners(grid))
    first = np.floor(ends.min(axis=0) + 1e-6)
    x, y, z = (int(size) for size in np.ceil(ends.max(axis=0) - 1e-6) - first + 1)
    return Grid((x, y, z), affine @ nib.affines.from_matvec(np.eye(3), first))


def _orthogonal(grid: Grid) -> FloatArray:
    """The affine with the nearest orthogonal directions, the same spacing and the same centre."""
    spacing = np.array(grid.spacing_mm)
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / spacing)
    matrix = left @ right * spacing
    centre = (np.array(grid.shape) - 1) / 2
    origin = grid.affine[:3, :3] @ centre + grid.affine[:3, 3] - matrix @ centre
    return nib.affines.from_matvec(matrix, origin)


def _corners(grid: Grid) -> FloatArray:
    return np.array(list(itertools.product(*((0, size - 1) for size in grid.shape))), float)
