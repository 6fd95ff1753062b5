"""The grey values of a restored image, fitted to those of the scan.

A scanner's contrast is not quite any that was trained on, and what differs everywhere is no lesion.
The fit knows no place: each grey value of the restored image gets the
median of the scan where it occurs. Lesions are the smaller part of every tissue, so that medians
pass over them.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Grey values that are fitted apart, each with as many voxels.
_LEVELS = 24
#: Restored grey values that are nearer than this count as equal.
_TINY = 1e-6


@torch.no_grad()
def fitted_contrast(restored: Tensor, image: Tensor, brain_mask: Tensor) -> Tensor:
    """The restored image with the scan's contrast: piecewise linear through medians.

    Parameters
    ----------
    restored, image : (1, 1, x, y, z) in [0, 1]
    brain_mask : (1, 1, x, y, z), 0 or 1

    Returns
    -------
    (1, 1, x, y, z) in [0, 1], 0 outside the brain; a brain of fewer voxels than levels is left as
    it is
    """
    inside = brain_mask.flatten() > 0
    source = torch.where(inside, restored.flatten().float(), torch.inf)
    target = image.flatten().float()
    # Nothing here has a size that depends on the values, so that no device is waited for.
    count = inside.sum()
    order = source.argsort()
    place = torch.arange(len(order), device=order.device)
    level = torch.where(place < count, place * _LEVELS // count.clamp(min=1), _LEVELS)
    by_target = target[order].argsort()
    ranked = by_target[level[by_target].argsort(stable=True)]  # by level, then by the scan
    starts = -(-torch.arange(_LEVELS + 1, device=order.device) * count // _LEVELS)
    middles = ((starts[:-1] + starts[1:] - 1) // 2).clamp(min=0)
    knots = source[order][middles].contiguous()
    values = target[order][ranked][middles]
    above = torch.bucketize(source, knots).clamp(1, _LEVELS - 1)
    low, high = knots[above - 1], knots[above]
    share = ((source - low) / (high - low).clamp(min=_TINY)).clamp(0, 1)
    fitted = torch.lerp(values[above - 1], values[above], share)
    fitted = torch.where(inside & (count >= _LEVELS), fitted, restored.flatten().float())
    return (fitted.clamp(0, 1).view_as(restored) * brain_mask).to(restored.dtype)
