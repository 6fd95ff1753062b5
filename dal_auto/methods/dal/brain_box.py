"""The box around a batch's brains: a training step computes nothing beyond it.

Where statistics are those of the brain alone, every normalised feature outside the brain is 0, so
that the box changes no loss but the mean of Eq. 10, which runs over the box in place of the grid.
"""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from dal_auto import distributed
from dal_auto.methods.method import Batch
from dal_auto.volumes import Box

#: R_E sees the atlas's tissue fractions, which do not end with the brain: its first convolution
#: reads them one voxel further.
_MARGIN = 1


def brain_box(brain_mask: Tensor, *, multiple: int, least: int) -> Box:
    """The smallest box that holds every brain of all processes, a voxel around them, and begins
    and ends at multiples: the networks' coarser grids then lie as they do on the whole grid.

    Parameters
    ----------
    brain_mask : (subject, 1, x, y, z), 0 or 1
    multiple : voxels of the grid in one of the networks' coarsest
    least : voxels of the box along each axis, as far as the grid has them
    """
    x, y, z = (
        _along(brain_mask.amax(dim=[d for d in range(5) if d != axis]), multiple, least)
        for axis in (2, 3, 4)
    )
    return x, y, z


def _along(covered: Tensor, multiple: int, least: int) -> slice:
    """The part of one axis that any brain covers, counted in cells of `multiple` voxels."""
    size = len(covered)
    places = distributed.gathered(covered[None]).amax(0).nonzero()[:, 0].tolist()
    if not places:
        return slice(0, size)
    cells = math.ceil(size / multiple)
    first = max(0, places[0] - _MARGIN) // multiple
    last = min(size - 1, places[-1] + _MARGIN) // multiple
    count = min(cells, max(last - first + 1, math.ceil(least / multiple)))
    start = min(max(0, (first + last + 1 - count) // 2), cells - count)
    return slice(start * multiple, min(size, (start + count) * multiple))


def cropped(batch: Batch, box: Box) -> Batch:
    """The batch within the box."""
    place = (..., *box)
    return replace(
        batch,
        images=batch.images[place],
        brain_mask=batch.brain_mask[place],
        clean=None if batch.clean is None else batch.clean[place],
        tissue=None if batch.tissue is None else batch.tissue[place],
    )
