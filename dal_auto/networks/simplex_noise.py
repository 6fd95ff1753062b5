"""Simplex noise in octaves: random fields with structures of chosen sizes.

Perlin, "Noise hardware", SIGGRAPH 2001 course notes; Gustavson, "Simplex noise demystified", 2005.
Written from these texts. A slice is a plane of a field in three dimensions: noise in two has
streaks along three directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SKEW, _UNSKEW = 1 / 3, 1 / 6
_REACH = 0.5  # squared; Gustavson's, with which the field has no steps (Perlin's 0.6 has)
#: Makes the largest value 1 (0.99999): it lies at (1/6, 1/2, 1/6) in the cell's own coordinates.
_SCALE = 76.88
#: Of the table of random numbers, as published.
_PERIOD = 256


@dataclass(frozen=True, eq=False)
class Fields:
    """All that chance decides of n fields.

    Parameters
    ----------
    tables : (n, 256) permutations of 0 … 255
    shifts : (n, octave, 3) where in its field a slice lies, in cells; so octaves know nothing of
        each other
    """

    tables: Tensor
    shifts: Tensor

    def to(self, device: torch.device) -> Fields:
        return Fields(self.tables.to(device), self.shifts.to(device))


def drawn_fields(
    count: int, octaves: int, device: torch.device, generator: torch.Generator | None = None
) -> Fields:
    """`count` fields at random, drawn on `device` (the generator's)."""
    order = torch.rand(count, _PERIOD, device=device, generator=generator).argsort(dim=1)
    shifts = torch.rand(count, octaves, 3, device=device, generator=generator)
    return Fields(order, shifts * _PERIOD)


def octave_noise(
    fields: Fields, size: Sequence[int], cells: Sequence[float], persistence: float
) -> Tensor:
    """Sum of simplex noise whose cells halve, and whose amplitude falls, with each octave.

    Parameters
    ----------
    size : h and w
    cells : edges of the first octave's along h and w, in voxels; the mean wavelength is 1.06 cells
    persistence : amplitude of an octave relative to the one before it

    Returns
    -------
    (n, 1, h, w) float32 with mean 0, within ± the sum of the amplitudes. Its standard deviation is
    not 1: one octave has 0.39 times its amplitude.
    """
    height, width = size
    device = fields.shifts.device
    rows, columns = (
        torch.arange(length, device=device, dtype=torch.float32) / cell
        for length, cell in zip(size, cells, strict=True)
    )
    total = torch.zeros(len(fields.tables), height * width, device=device)
    for octave in range(fields.shifts.shape[1]):
        x, y, z = fields.shifts[:, octave, :, None].unbind(dim=1)  # (n, 1) each
        x = (x + rows * 2**octave)[:, :, None].expand(-1, -1, width)
        y = (y + columns * 2**octave)[:, None, :].expand(-1, height, -1)
        points = torch.stack([x.flatten(1), y.flatten(1), z.expand_as(total)])
        total = total + persistence**octave * simplex_noise(fields.tables, points)
    return total.unflatten(1, (1, height, width))


def simplex_noise(tables: Tensor, points: Tensor) -> Tensor:
    """One octave of noise.

    Parameters
    ----------
    tables : (n, 256) permutations of 0 … 255
    points : (3, n, m) coordinates in cells

    Returns
    -------
    (n, m) within ±1
    """
    cell = (points + _SKEW * points.sum(dim=0)).floor()
    inside = points - cell + _UNSKEW * cell.sum(dim=0)
    x, y, z = inside
    # How many of the other coordinates each one exceeds: the largest is stepped along first.
    first, second, third = x >= y, y >= z, x >= z
    rank = torch.stack(
        [first.int() + third.int(), (~first).int() + second.int(), (~third).int() + (~second).int()]
    )
    total = torch.zeros_like(x)
    for corner in range(4):
        step = (rank >= 3 - corner).to(points.dtype)
        offset = inside - step + _UNSKEW * corner
        kernel = (_REACH - offset.square().sum(dim=0)).clamp(min=0).square().square()
        drawn = _hashed(tables, (cell + step).long())
        total = total + kernel * _slope(drawn % 12, offset)
    return _SCALE * total


def _hashed(tables: Tensor, corners: Tensor) -> Tensor:
    """A number of 0 … 255 for each lattice point (3, n, m)."""
    x, y, z = corners & (_PERIOD - 1)
    for coordinate in (y, x):
        z = (coordinate + tables.gather(1, z)) & (_PERIOD - 1)
    return tables.gather(1, z)


def _slope(edge: Tensor, offset: Tensor) -> Tensor:
    """Along the gradients (±1, ±1, 0), (±1, 0, ±1) and (0, ±1, ±1), numbered 0 to 11."""
    x, y, z = offset
    first = torch.where(edge < 8, x, y)
    second = torch.where(edge < 4, y, z)
    first = torch.where(edge & 1 == 0, first, -first)
    return first + torch.where(edge & 2 == 0, second, -second)
