"""Smooth random fields, and the displacement that makes one head into many."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from dal_auto.case import FloatArray

# Standard deviation of the blur in mm, and of the displacement per axis in mm. The product of
# amplitude and 1/blur bounds the gradient: every level stays below 0.15, so folds are rare.
LEVELS = ((18.0, 2.3), (7.5, 1.0), (4.0, 0.4))


def enlarge(coarse: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Bring `coarse` (x, y, z) to `shape` by cubic splines; first and last voxels stay in place."""
    for axis, (old, new) in enumerate(zip(coarse.shape, shape, strict=True)):
        coarse = np.moveaxis(np.tensordot(_spline_matrix(old, new), coarse, (1, axis)), 0, axis)
    return coarse


@lru_cache(maxsize=256)
def _spline_matrix(old: int, new: int) -> FloatArray:
    """(new, old) matrix of cubic interpolation: separable, hence far faster than `zoom`."""
    return ndimage.zoom(np.eye(old, dtype=np.float32), (new / old, 1), order=3, mode="nearest")


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: float, sigma_mm: float
) -> FloatArray:
    """Gaussian random field (x, y, z) of mean 0 and standard deviation 1.

    White noise blurred by a Gaussian of `sigma_mm`, drawn on a lattice of 0.7 sigma, which
    depends on the extent in mm alone: a coarser `spacing_mm` shows the same field.
    """
    step_mm = 0.7 * sigma_mm
    coarse = tuple(int(np.ceil(round(n * spacing_mm) / step_mm)) + 3 for n in shape)
    field = rng.standard_normal(coarse, np.float32)
    field = ndimage.gaussian_filter(field, sigma_mm / step_mm, mode="wrap")
    field = (field - field.mean()) / field.std()
    return enlarge(field, shape)


def displacement_mm(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: float,
    ventricle_pull: FloatArray,
    pull_mm: tuple[float, float],
) -> FloatArray:
    """(3, x, y, z) float32: from where in the head, relative to itself, a voxel takes its tissue.

    Three scales of smooth noise, and a pull of a size drawn from `pull_mm` along
    `ventricle_pull` (3, i, j, k), which widens or narrows the ventricles.
    """
    pull = rng.uniform(*pull_mm)
    total = np.empty((3, *shape), np.float32)
    for axis in range(3):
        total[axis] = enlarge(pull * ventricle_pull[axis], shape)
        for sigma_mm, amplitude_mm in LEVELS:
            total[axis] += amplitude_mm * smooth_noise(rng, shape, spacing_mm, sigma_mm)
    return total
