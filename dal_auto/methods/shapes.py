"""Random shapes in slices, in which methods put what does not belong there.

All are drawn on the slices' device, so that nobody waits for a number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dal_auto.networks.perlin_noise import perlin_noise

#: Of the logarithm of a rough disc's extent along each axis.
_STRETCH_SD = 0.25


def boxes(size: tuple[int, int], centres: Tensor, half_sides: Tensor) -> Tensor:
    """Upright rectangles: (n, 1, h, w), 0 or 1.

    Parameters
    ----------
    size : h and w
    centres, half_sides : (n, 2) in pixels; a pixel's middle lies at half a pixel
    """
    inside = [
        (place - centre[:, None]).abs() <= half[:, None]
        for place, centre, half in zip(
            _places(size, centres.device), centres.unbind(1), half_sides.unbind(1), strict=True
        )
    ]
    return (inside[0][:, :, None] & inside[1][:, None]).float()[:, None]


def drawn_squares(
    count: int, side: int, half_sides: tuple[float, float], centres: float, device: torch.device
) -> Tensor:
    """One square in each of `count` slices: (count, 1, side, side), 0 or 1.

    Parameters
    ----------
    half_sides : least and most, in shares of `side`
    centres : middle share of each axis in which centres lie
    """
    half = torch.empty(count, 1, device=device).uniform_(*half_sides)
    centre = 0.5 + centres * (torch.rand(count, 2, device=device) - 0.5)
    return boxes((side, side), centre * side, (half * side).expand(-1, 2))


def drawn_ellipses(
    like: Tensor, number: int, centres: float, half_axes: tuple[float, float], least: float
) -> Tensor:
    """The union of some upright ellipses in each slice: (n, 1, h, w), 0 or 1.

    Parameters
    ----------
    like : (n, 1, h, w)
    number : of ellipses in a slice
    centres : middle share of each axis in which centres lie
    half_axes : mean and standard deviation in pixels; what is negative is taken without its sign
    least : of a half axis, in pixels
    """
    count, _, *size = like.shape
    mean, deviation = half_axes
    drawn = torch.randn(2, count, number, 1, device=like.device)
    halves = (mean + deviation * drawn).abs().clamp(min=least)
    middles = 0.5 + centres * (torch.rand(2, count, number, 1, device=like.device) - 0.5)
    away = [
        ((place - length * middle) / half).square()
        for place, length, middle, half in zip(
            _places((size[0], size[1]), like.device), size, middles, halves, strict=True
        )
    ]
    within = away[0][..., :, None] + away[1][..., None, :] <= 1
    return within.any(dim=1, keepdim=True).to(like.dtype)


def rough_discs(
    brain: Tensor,
    spacing_mm: tuple[float, float],
    radii_mm: tuple[float, float],
    roughness: float,
    edges_mm: tuple[float, float],
) -> Tensor:
    """A region around some pixel of each slice's brain, cut to the brain: (n, 1, h, w), 0 to 1.

    Parameters
    ----------
    brain : (n, 1, h, w)
    spacing_mm : of pixels along rows and columns
    radii_mm : least and most; the logarithm is drawn evenly
    roughness : how far the outline goes in and out, in shares of the radius; 0 is a disc
    edges_mm : least and most width of the soft edge
    """
    count, device = len(brain), brain.device
    size = (brain.shape[2], brain.shape[3])
    logarithm = torch.empty(count, 1, 1, device=device)
    radius = logarithm.uniform_(*(math.log(r) for r in radii_mm)).exp()
    edge = torch.empty(count, 1, 1, device=device).uniform_(*edges_mm)
    centres = drawn_places(brain)
    stretch = torch.exp(bool(roughness) * _STRETCH_SD * torch.randn(count, 2, device=device))
    away = [
        (place - centre[:, None]) * mm * wide[:, None]
        for place, centre, mm, wide in zip(
            _places(size, device), centres.unbind(1), spacing_mm, stretch.unbind(1), strict=True
        )
    ]
    distance = torch.hypot(away[0][:, :, None], away[1][:, None])
    if roughness:
        extent_mm = torch.tensor([n * mm for n, mm in zip(size, spacing_mm, strict=True)])
        lobes = extent_mm.to(device) / radius[:, 0]
        noise = perlin_noise(size, lobes, math.pi * torch.rand(count, device=device))
        distance = distance + roughness * radius * noise[:, 0]
    inside = ((radius - distance) / edge + 0.5).clamp(0, 1)
    return inside[:, None] * (brain > 0.5)


def drawn_places(brain: Tensor) -> Tensor:
    """The middle of one pixel of each slice's brain: (n, 1, h, w) → (n, 2) row and column.

    Any pixel where a slice has no brain.
    """
    width = brain.shape[3]
    weights = (brain > 0.5).flatten(1).float() + 1e-12
    chosen = torch.multinomial(weights, 1)[:, 0]
    rows = chosen.div(width, rounding_mode="floor")
    return torch.stack([rows, chosen % width], dim=1) + 0.5


def shifted(slices: Tensor, shifts: Tensor) -> Tensor:
    """What lies `shifts` further in each slice; beyond its edge it begins again.

    Parameters
    ----------
    slices : (n, 1, h, w)
    shifts : (n, 2) whole pixels along rows and columns
    """
    height, width = slices.shape[2:]
    rows, columns = (
        (torch.arange(size, device=slices.device) + shift[:, None].long()) % size
        for size, shift in zip((height, width), shifts.unbind(1), strict=True)
    )
    number = torch.arange(len(slices), device=slices.device)[:, None, None]
    return slices[:, 0][number, rows[:, :, None], columns[:, None]][:, None]


def _places(size: tuple[int, int], device: torch.device) -> list[Tensor]:
    """The pixels' middles along each axis."""
    return [torch.arange(length, device=device) + 0.5 for length in size]
