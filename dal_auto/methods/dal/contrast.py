"""The grey values of a restored image, fitted to those of the scan.

A scanner's contrast is not quite any that was trained on, and what differs everywhere is no lesion.
The fit is monotone in nothing and knows no place: each grey value of the restored image gets the
median of the scan where it occurs. Lesions are the smaller part of every tissue, so that medians
pass over them.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Grey values that are fitted apart, each with as many voxels.
_LEVELS = 24


@torch.no_grad()
def fitted_contrast(restored: Tensor, image: Tensor, brain_mask: Tensor) -> Tensor:
    """The restored image with the scan's contrast: piecewise linear through medians.

    Parameters
    ----------
    restored, image : (1, 1, x, y, z) in [0, 1]
    brain_mask : (1, 1, x, y, z), 0 or 1

    Returns
    -------
    (1, 1, x, y, z) in [0, 1], 0 outside the brain
    """
    inside = brain_mask[0, 0] > 0
    source, target = restored[0, 0][inside].float(), image[0, 0][inside].float()
    if source.numel() < _LEVELS:
        return restored
    order = source.argsort()
    parts = [(source[part].median(), target[part].median()) for part in order.tensor_split(_LEVELS)]
    knots = torch.stack([knot for knot, _ in parts])
    values = torch.stack([value for _, value in parts])
    above = torch.bucketize(source, knots).clamp(1, _LEVELS - 1)
    low, high = knots[above - 1], knots[above]
    share = ((source - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    fitted = torch.lerp(values[above - 1], values[above], share)
    result = torch.zeros_like(restored)
    result[0, 0][inside] = fitted.clamp(0, 1).to(restored.dtype)
    return result
