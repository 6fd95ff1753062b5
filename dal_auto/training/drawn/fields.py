"""Smooth random fields and Gaussian blurs on a device, for a batch at once.

Both are separable, and each axis is one product with a small matrix: several times faster on a CPU
than torch's interpolation and convolution of volumes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dal_auto.plans import Shape

Spacing = tuple[float, float, float]
#: A lattice finer than this many voxels would be noise.
_FEWEST_VOXELS = 1.0


def smooth_fields(
    leading: tuple[int, ...],
    shape: Shape,
    spacing_mm: Spacing,
    lattice_mm: float,
    generator: torch.Generator,
) -> Tensor:
    """(*leading, x, y, z) cubic B-splines of white noise: mean 0 and standard deviation 1.

    Parameters
    ----------
    lattice_mm : between the points that are drawn; one voxel at least
    """
    device = generator.device
    matrices = [
        _spline(n, max(lattice_mm / mm, _FEWEST_VOXELS)).to(device)
        for n, mm in zip(shape, spacing_mm, strict=True)
    ]
    lattice = [matrix.shape[1] for matrix in matrices]
    drawn = torch.randn(*leading, *lattice, generator=generator, device=device)
    return _along_axes(drawn, matrices)


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image by its own σ along each axis; outside the volume is 0.

    Parameters
    ----------
    images : (…, x, y, z)
    sigma : (…, 3) in voxels
    """
    matrices = []
    for axis in range(3):
        place = torch.arange(images.shape[axis - 3], device=images.device)
        away = place[:, None] - place
        wide = sigma[..., axis, None, None].clamp(min=0.1) * math.sqrt(2)
        # The mass of a Gaussian over each voxel: right for a σ below one, too.
        matrices.append((torch.erf((away + 0.5) / wide) - torch.erf((away - 0.5) / wide)) / 2)
    return _along_axes(images, matrices)


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Numbers drawn evenly between `low` and `high`."""
    drawn = torch.rand(*shape, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def _along_axes(volumes: Tensor, matrices: list[Tensor]) -> Tensor:
    """Volumes (…, a, b, c), each axis multiplied by its matrix (…, new, old)."""
    first, second, third = matrices
    a, b = volumes.shape[-3:-1]
    volumes = (volumes.flatten(-3, -2) @ third.mT).unflatten(-2, (a, b))
    volumes = second.unsqueeze(-3) @ volumes
    return (first @ volumes.flatten(-2)).unflatten(-1, volumes.shape[-2:])


@lru_cache(maxsize=256)
def _spline(size: int, step: float) -> Tensor:
    """(size, lattice) values of cubic B-splines `step` voxels apart; rows have length 1, so that
    white noise comes out with standard deviation 1 everywhere."""
    lattice = math.ceil((size - 1) / step) + 4
    away = np.abs(np.arange(size)[:, None] / step + 1 - np.arange(lattice))
    inner, outer = 2 / 3 - away**2 + away**3 / 2, (2 - away) ** 3 / 6
    weights = np.where(away < 1, inner, np.where(away < 2, outer, 0))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return torch.from_numpy(weights.astype(np.float32))
