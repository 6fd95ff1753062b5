"""Minimum, mean and erosion in a box of voxels.

Sizes in mm follow the voxel size: 3³ and 9³ voxels of the paper are its 1 mm grid.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dal_auto.scoring.separable import SPATIAL_AXES, correlate

Kernel = tuple[int, int, int]


def kernel_voxels(size_mm: float, spacing_mm: tuple[float, float, float]) -> Kernel:
    """Odd number of voxels along x, y, z nearest to `size_mm`; of two as near, the larger.

    Parameters
    ----------
    size_mm : edge of the kernel; 0 = off
    spacing_mm : voxel size along x, y, z

    Returns
    -------
    at least 1 along each axis, and 1 = no effect

    Raises
    ------
    ValueError
        for a negative size or a spacing that is not positive
    """
    if not 0 <= size_mm < math.inf or not all(0 < spacing < math.inf for spacing in spacing_mm):
        raise ValueError(f"no kernel has {size_mm} mm on voxels of {spacing_mm} mm")
    # Spacings come from affines with rounding noise, which must not decide between two neighbours.
    x, y, z = (2 * math.floor(round(size_mm / spacing, 3) / 2) + 1 for spacing in spacing_mm)
    return x, y, z


@torch.no_grad()
def minimum_filter(volume: Tensor, kernel: Kernel) -> Tensor:
    """Smallest value in a box around each voxel, as scipy.ndimage.minimum_filter.

    Parameters
    ----------
    volume : (..., x, y, z), any real type or bool
    kernel : voxels along x, y, z, odd

    Returns
    -------
    (..., x, y, z), same type; beyond the border nothing counts, which for a minimum is the same as
    scipy's 'reflect'
    """
    _require_odd(kernel)
    for axis, size in zip(SPATIAL_AXES, kernel, strict=True):
        length = volume.shape[axis]
        source, volume = volume, volume.clone()
        for shift in range(1, min(size // 2, length - 1) + 1):
            rest = length - shift
            for at, other in ((0, shift), (shift, 0)):
                target = volume.narrow(axis, at, rest)
                torch.minimum(target, source.narrow(axis, other, rest), out=target)
    return volume


@torch.no_grad()
def mean_filter(volume: Tensor, kernel: Kernel) -> Tensor:
    """Mean in a box around each voxel, as scipy.ndimage.uniform_filter with 'reflect' borders.

    Parameters
    ----------
    volume : (..., x, y, z) float
    kernel : voxels along x, y, z, odd

    Returns
    -------
    (..., x, y, z), same type
    """
    _require_odd(kernel)
    return correlate(volume, [[1 / size] * size for size in kernel])


@torch.no_grad()
def erode(mask: Tensor, kernel: Kernel) -> Tensor:
    """Voxels whose whole box lies in the mask, as scipy.ndimage.binary_erosion.

    Parameters
    ----------
    mask : (..., x, y, z) bool
    kernel : voxels along x, y, z, odd

    Returns
    -------
    (..., x, y, z) bool; beyond the border of the volume there is no mask
    """
    _require_odd(kernel)
    x, y, z = (size // 2 for size in kernel)
    eroded = minimum_filter(F.pad(mask, (z, z, y, y, x, x), value=False), kernel)
    for axis, radius in zip(SPATIAL_AXES, (x, y, z), strict=True):
        eroded = eroded.narrow(axis, radius, mask.shape[axis])
    return eroded


def _require_odd(kernel: Kernel) -> None:
    if any(size < 1 or size % 2 == 0 for size in kernel):
        raise ValueError(f"kernel {kernel} is not odd along every axis")
