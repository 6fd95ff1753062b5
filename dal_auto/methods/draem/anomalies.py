"""What DRAEM pastes into healthy slices: textures, in the shapes of thresholded Perlin noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.methods.corruption import other_slices
from dal_auto.networks.perlin_noise import perlin_noise

_THRESHOLD = 0.5
_LEAST_GAMMA, _MOST_GAMMA = 0.5, 2.0


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Slices with something pasted in.

    Parameters
    ----------
    slices : (n, 1, h, w) in [0, 1]
    masks : (n, 1, h, w), 1 where it is
    """

    slices: Tensor
    masks: Tensor


def pasted(
    slices: Tensor, brain: Tensor, *, scales: int, most_kept: float, share: float
) -> Anomalies:
    """x_a = (1 − M)·x + M·[(1 − β)·texture + β·x], in a share of the slices.

    Parameters
    ----------
    slices, brain : (n, 1, h, w)
    scales : cells of the noise are 2⁰ … 2^(scales − 1) along each axis
    most_kept : β is drawn from [0, most_kept)
    share : of the slices that get an anomaly
    """
    count, device = len(slices), slices.device
    chosen = torch.rand(count, 1, 1, 1, device=device) < share
    masks = drawn_shapes(slices, scales) * (brain > 0.5) * chosen
    kept = most_kept * torch.rand(count, 1, 1, 1, device=device)
    texture = textures(slices)
    return Anomalies(slices + masks * (1 - kept) * (texture - slices), masks)


def drawn_shapes(slices: Tensor, scales: int) -> Tensor:
    """Where Perlin noise, turned by up to 90°, is above 0.5: (n, 1, h, w), 0 or 1."""
    count, device = len(slices), slices.device
    cells = 2.0 ** torch.randint(scales, (count, 2), device=device)
    turned = math.pi * (torch.rand(count, device=device) - 0.5)
    height, width = slices.shape[2:]
    return (perlin_noise((height, width), cells, turned) > _THRESHOLD).float()


def textures(slices: Tensor) -> Tensor:
    """Other slices of the batch, elsewhere, and with another contrast: inverted, and a gamma."""
    count, device = len(slices), slices.device
    found = other_slices(slices)
    inverted = torch.rand(count, 1, 1, 1, device=device) < 0.5
    found = torch.where(inverted, 1 - found, found)
    low, high = math.log(_LEAST_GAMMA), math.log(_MOST_GAMMA)
    gamma = torch.exp(low + (high - low) * torch.rand(count, 1, 1, 1, device=device))
    return found.clamp(1e-3, 1) ** gamma


def turned(slices: Tensor, degrees: float, share: float) -> Tensor:
    """A share of the slices turned about their middle by up to so many degrees, bilinear."""
    count, device = len(slices), slices.device
    angle = math.radians(degrees) * (2 * torch.rand(count, device=device) - 1)
    angle = angle * (torch.rand(count, device=device) < share)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    height, width = slices.shape[2:]
    rows = [
        torch.stack([cos, -sin * height / width, zero], dim=1),
        torch.stack([sin * width / height, cos, zero], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(slices.shape), align_corners=False)
    return F.grid_sample(slices, grid.to(slices.dtype), align_corners=False)
