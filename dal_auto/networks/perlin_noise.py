"""Perlin noise of slices, drawn on the device (Perlin, "Improving noise", SIGGRAPH 2002)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Gradients of a field repeat after so many cells.
_PERIOD = 64


def perlin_noise(size: tuple[int, int], cells: Tensor, turned: Tensor) -> Tensor:
    """One field for each slice.

    Parameters
    ----------
    size : h and w
    cells : (n, 2) cells along each axis
    turned : (n,) angles in radians by which a field is turned about the slice's middle

    Returns
    -------
    (n, 1, h, w), within about ±1
    """
    count, device = len(cells), cells.device
    angles = 2 * math.pi * torch.rand(count, _PERIOD, _PERIOD, device=device)
    gradients = torch.stack([angles.cos(), angles.sin()], dim=-1)
    axes = [torch.arange(length, device=device) / length - 0.5 for length in size]
    y, x = torch.meshgrid(*axes, indexing="ij")
    cos, sin = turned.cos()[:, None, None], turned.sin()[:, None, None]
    turned_places = torch.stack([cos * y - sin * x, sin * y + cos * x], dim=-1)
    places = (turned_places + 0.5) * cells[:, None, None]
    corner = places.floor()
    within = places - corner
    weights = within**3 * (within * (within * 6 - 15) + 10)
    rows = torch.arange(count, device=device)[:, None, None]

    def pull(down: int, right: int) -> Tensor:
        at = (corner.long() + torch.tensor([down, right], device=device)) % _PERIOD
        towards = within - torch.tensor([down, right], device=device)
        return (gradients[rows, at[..., 0], at[..., 1]] * towards).sum(dim=-1)

    above, below = (torch.lerp(pull(down, 0), pull(down, 1), weights[..., 1]) for down in (0, 1))
    return math.sqrt(2) * torch.lerp(above, below, weights[..., 0])[:, None]
