"""Superpixels of slices, on their device and all slices at once.

Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", IEEE TPAMI
34(11), 2012. Each pixel looks at the centre of its own cell of a regular grid and at the eight
around it (as gSLIC, Ren and Reid 2011, does), so nothing has to be waited for. Superpixels are not
made connected.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: The intensity of a centre without pixels: nothing is near it.
_NOWHERE = 1e3


@torch.no_grad()
def superpixel_image(
    slices: Tensor, brain: Tensor, cell: tuple[float, float], compactness: float, steps: int
) -> Tensor:
    """Each superpixel of the brain filled with its mean; slices stay as they are elsewhere.

    Parameters
    ----------
    slices : (n, 1, h, w) in [0, 1]
    brain : (n, 1, h, w); a pixel above one half belongs to it
    cell : height and width in pixels of the cells in which superpixels begin
    compactness : difference of intensity that weighs as much as a distance of one cell
    steps : of k-means

    Returns
    -------
    (n, 1, h, w)
    """
    count, _, height, width = slices.shape
    rows, columns = (max(1, round(n / c)) for n, c in zip((height, width), cell, strict=True))
    inside = (brain > 0.5).flatten(1)
    value = slices.flatten(1).float()
    y, x = (_in_cells(n, parts, slices.device) for n, parts in ((height, rows), (width, columns)))
    # Centres have a rim of empty ones around them, so that every cell has eight neighbours.
    across = columns + 2
    own = (y.long()[:, None] + 1) * across + x.long() + 1
    own = own.flatten().expand(count, -1)
    y, x = (p.flatten().expand(count, -1) for p in torch.meshgrid(y, x, indexing="ij"))
    features = torch.stack([value, y, x, torch.ones_like(value)]) * inside
    around = [down * across + right for down in (-1, 0, 1) for right in (-1, 0, 1)]
    label, middles = own, _centres(own, features, (rows + 2) * across)
    for _ in range(steps):
        distances = []
        for offset in around:
            there = (middle.gather(1, own + offset) for middle in middles)
            v, down, right = (p - q for p, q in zip((value, y, x), there, strict=True))
            distances.append(v.square() + compactness**2 * (down.square() + right.square()))
        nearest = torch.stack(distances).argmin(dim=0)
        label = own + torch.tensor(around, device=own.device)[nearest]
        middles = _centres(label, features, (rows + 2) * across)
    means = torch.where(inside, middles[0].gather(1, label), value)
    return means.unflatten(1, (1, height, width))


def _in_cells(size: int, parts: int, device: torch.device) -> Tensor:
    """Where pixels lie along an axis, in cells."""
    return (torch.arange(size, device=device) + 0.5) * (parts / size)


def _centres(label: Tensor, features: Tensor, count: int) -> Tensor:
    """Mean value, row and column of each label: (3, n, count); far away where it has no pixels.

    Parameters
    ----------
    label : (n, pixels)
    features : (4, n, pixels) value, row, column and 1, all 0 for pixels that do not count
    """
    sums = torch.zeros(4, len(label), count, device=label.device)
    sums.scatter_add_(2, label.expand(4, -1, -1), features)
    *totals, pixels = sums
    return torch.where(pixels > 0, torch.stack(totals) / pixels.clamp(min=1), _NOWHERE)
