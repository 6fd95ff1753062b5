"""Structural similarity of slices as a loss (Wang, Bovik, Sheikh, Simoncelli 2004)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.networks.precision import at_least_single, without_autocast

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def ssim_2d(first: Tensor, second: Tensor, value_range: float) -> Tensor:
    """SSIM with a Gaussian window of 11 and σ = 1.5, with gradient: inner voxels only.

    In float32 at least, also under autocast: variances are differences of squares.

    Parameters
    ----------
    first, second : (n, 1, h, w), at least 11 × 11
    value_range : largest less smallest value that slices may have

    Returns
    -------
    (n, 1, h − 10, w − 10)
    """
    with without_autocast(first):
        return _ssim(at_least_single(first), at_least_single(second), value_range)


def _ssim(first: Tensor, second: Tensor, value_range: float) -> Tensor:
    x = torch.arange(_WINDOW, device=first.device, dtype=first.dtype) - _WINDOW // 2
    line = torch.exp(-0.5 * (x / _SIGMA).square())
    window = (line[:, None] * line / line.sum().square())[None, None]

    def mean(slices: Tensor) -> Tensor:
        return F.conv2d(slices, window)

    a, b = mean(first), mean(second)
    variance_a, variance_b = mean(first.square()) - a.square(), mean(second.square()) - b.square()
    covariance = mean(first * second) - a * b
    c1, c2 = (_K1 * value_range) ** 2, (_K2 * value_range) ** 2
    luminance = (2 * a * b + c1) / (a.square() + b.square() + c1)
    return luminance * (2 * covariance + c2) / (variance_a + variance_b + c2)
