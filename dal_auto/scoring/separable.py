"""Small separable filters on volumes, with the mirrored borders of scipy.ndimage's 'reflect'.

Written as sums of shifted views: exact to float32 on every device (a CUDA convolution may round to
TF32), as fast as memory allows, and one padded copy of the volume at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SPATIAL_AXES = (-3, -2, -1)


def correlate(volume: Tensor, kernels: Sequence[Sequence[float]]) -> Tensor:
    """Correlate with the outer product of three one-dimensional kernels.

    Parameters
    ----------
    volume : (..., x, y, z) float
    kernels : the weights along x, y and z, each of odd length

    Returns
    -------
    (..., x, y, z); beyond the border the volume is mirrored, edge voxel included: c b a | a b c
    """
    for axis, weights in zip(SPATIAL_AXES, kernels, strict=True):
        volume = _along(volume, axis, weights)
    return volume


def mean_and_variance(volume: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance in a window around each voxel, accurate in float32.

    E[v²] − E[v]² loses all digits where the intensity is large beside its variation. So the window
    is built axis by axis by the law of total variance: the variance of a union of lines is the mean
    of their variances plus the variance of their means, a sum of squares that cannot cancel.

    Parameters
    ----------
    volume : (..., x, y, z) float
    weights : of odd length and sum 1, the same along each axis

    Returns
    -------
    mean, variance : (..., x, y, z), variance ≥ 0; borders as in `correlate`
    """
    mean, variance = volume, torch.zeros_like(volume)
    for axis in SPATIAL_AXES:
        size = volume.shape[axis]
        padded = _mirrored(mean, axis, len(weights) // 2)
        mean, variance = _along(mean, axis, weights), _along(variance, axis, weights)
        for offset, weight in enumerate(weights):
            deviation = padded.narrow(axis, offset, size) - mean
            variance.addcmul_(deviation, deviation, value=weight)
    return mean, variance


def gaussian_kernel(sigma_voxels: float, truncate: float) -> list[float]:
    """Normalised Gaussian weights, cut `truncate` standard deviations from the centre.

    The radius is rounded as in scipy.ndimage.gaussian_filter.
    """
    radius = int(truncate * sigma_voxels + 0.5)
    weights = [math.exp(-0.5 * (i / sigma_voxels) ** 2) for i in range(-radius, radius + 1)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _along(volume: Tensor, axis: int, weights: Sequence[float]) -> Tensor:
    size = volume.shape[axis]
    padded = _mirrored(volume, axis, len(weights) // 2)
    filtered = padded.narrow(axis, 0, size) * weights[0]
    for offset, weight in enumerate(weights[1:], start=1):
        filtered.add_(padded.narrow(axis, offset, size), alpha=weight)
    return filtered


def _mirrored(volume: Tensor, axis: int, radius: int) -> Tensor:
    size = volume.shape[axis]
    # The mirrored line repeats every 2·size, also where the kernel is wider than the volume.
    index = torch.arange(-radius, size + radius, device=volume.device) % (2 * size)
    return volume.index_select(axis, torch.minimum(index, 2 * size - 1 - index))
