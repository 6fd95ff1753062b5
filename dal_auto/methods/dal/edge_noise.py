"""Noise in the anatomy before its edges are taken: R_E then learns to pass over false edges.

§4.8.2 credits the noise of the unsupervised anatomy with this; a better anatomy has less of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: Edge length of a mislabelled cube in voxels.
_CELL = 4


@torch.no_grad()
def mislabelled(anatomy: Tensor, brain_mask: Tensor, share: float, classes: int) -> Tensor:
    """Give cubes of the brain another class, each of the others with the same chance.

    Parameters
    ----------
    anatomy : (N, 1, x, y, z), 0 outside the brain, c / classes inside
    brain_mask : (N, 1, x, y, z), 0 or 1
    share : expected share of the brain that is mislabelled

    Returns
    -------
    (N, 1, x, y, z), with the same values
    """
    size = anatomy.shape[2:]
    # The cubes' grid lies elsewhere each time; drawn on the CPU, so that no device is asked.
    starts = torch.randint(_CELL, (3,), device="cpu").tolist()
    cells = [math.ceil(n / _CELL) + 1 for n in size]
    chosen = torch.rand(len(anatomy), 1, *cells, device=anatomy.device) < share
    step = torch.randint(1, classes, chosen.shape, device=anatomy.device) * chosen
    step = F.interpolate(step.float(), scale_factor=_CELL)
    for axis, (start, length) in enumerate(zip(starts, size, strict=True), start=2):
        step = step.narrow(axis, start, length)
    label = (anatomy.float() * classes).round() - 1
    moved = ((label + step) % classes + 1) / classes
    return torch.where(step > 0, moved, anatomy) * brain_mask
