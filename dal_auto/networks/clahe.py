"""Contrast limited adaptive histogram equalisation, on a device and for slices at once.

Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994. Defaults and
conventions are scikit-image's, which is no dependency: tiles are an eighth of the slice, each slice
is stretched to [0, 1] before and after, and counts that are cut off are handed out in its order.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BINS, _TILES = 256, 8
#: Of the intensities that scikit-image tells apart.
_GREYS = 2**14
#: Passes over the bins in which counts are handed out; few tiles want more than two.
_PASSES = 12


@torch.no_grad()
def equalised(slices: Tensor, clip_limit: float = 0.01) -> Tensor:
    """Slices (n, 1, h, w) with even contrast, in [0, 1].

    Parameters
    ----------
    slices : h and w are multiples of 8
    clip_limit : most pixels of a tile in one bin of its histogram, as a share of the tile
    """
    count, _, height, width = slices.shape
    tile = (height // _TILES, width // _TILES)
    greys = (stretched(slices)[:, 0] * (_GREYS - 1)).round().long()
    bins = greys // (1 + _GREYS // _BINS)
    # A pixel's own tile, and the histogram of each.
    rows, columns = (torch.arange(n, device=slices.device) for n in (height, width))
    own = (rows // tile[0])[:, None] * _TILES + columns // tile[1]
    at = (own * _BINS + bins).flatten(1)
    histograms = torch.zeros(count, _TILES**2 * _BINS, device=slices.device)
    histograms.scatter_add_(1, at, torch.ones_like(at, dtype=torch.float32))
    pixels = tile[0] * tile[1]
    limit = float(max(1, int(clip_limit * pixels)))
    cut = clipped(histograms.unflatten(1, (-1, _BINS)), limit)
    mapping = (cut.cumsum(dim=2) / pixels).clamp(max=1).flatten(1)
    # Between the middles of tiles: from their four mappings, linearly.
    values = torch.zeros(count, height, width, device=slices.device)
    for down in (0, 1):
        row, row_weight = _neighbour(rows, tile[0], down)
        for right in (0, 1):
            column, column_weight = _neighbour(columns, tile[1], right)
            where = (row[:, None] * _TILES + column) * _BINS + bins
            mapped = mapping.gather(1, where.flatten(1)).view_as(values)
            values += mapped * row_weight[:, None] * column_weight
    return stretched(values[:, None])


def stretched(slices: Tensor) -> Tensor:
    """Each slice brought to [0, 1]; one without contrast is 0."""
    low, high = slices.amin(dim=(1, 2, 3), keepdim=True), slices.amax(dim=(1, 2, 3), keepdim=True)
    return (slices - low) / (high - low).clamp(min=1e-6)


def clipped(histograms: Tensor, limit: float) -> Tensor:
    """Bins cut to `limit`; what is cut off is handed out to the bins below it: (…, bins).

    As scikit-image does it, with no bin above the limit, but perhaps more counts than there were.
    """
    bins = histograms.shape[-1]
    counts = histograms.clamp(max=limit)
    left = (histograms - counts).sum(dim=-1, keepdim=True)
    each = (left / bins).floor()
    low = counts < limit - each
    counts = counts + low * each
    left = left - low.sum(dim=-1, keepdim=True) * each
    filled = torch.where(counts >= limit - each, limit, counts)
    left = left - (filled - counts).sum(dim=-1, keepdim=True)
    counts, number = filled, torch.arange(bins, device=histograms.device)
    for start in range(_PASSES):
        below = counts < limit
        step = (below.sum(dim=-1, keepdim=True) / left.clamp(min=1)).floor().clamp(min=1)
        given = below & (number >= start) & ((number - start) % step == 0) & (left > 0)
        counts = counts + given
        left = left - given.sum(dim=-1, keepdim=True)
    return counts


def _neighbour(pixel: Tensor, size: int, step: int) -> tuple[Tensor, Tensor]:
    """The tile whose middle lies before (step 0) or after (1) a pixel, and its weight."""
    before = (pixel - size // 2).div(size, rounding_mode="floor")
    after = (pixel - size // 2 - before * size) / size
    return (before + step).clamp(0, _TILES - 1), after if step else 1 - after
