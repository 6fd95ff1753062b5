"""Wrong classes in the anatomy before its edges are taken: R_E then learns to pass over them.

§4.8.2 credits the noise of the unsupervised anatomy with this; a better anatomy has less of it. A
whole blob gets one class: inside it no edge is left, as in a lesion that E_A takes for one tissue.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: Blobs of an image that has any.
_MOST_BLOBS = 3
#: How much a blob's border departs from a ball's, as a share of its radius.
_ROUGHNESS = 0.25


@torch.no_grad()
def mislabelled(
    anatomy: Tensor,
    brain_mask: Tensor,
    share: float,
    classes: int,
    radii_mm: tuple[float, float],
    spacing_mm: float,
) -> Tensor:
    """Give blobs of the brain one class each.

    Parameters
    ----------
    anatomy : (N, 1, x, y, z), 0 outside the brain, c / classes inside
    brain_mask : (N, 1, x, y, z), 0 or 1
    share : of the images that get one to three blobs
    radii_mm : least and greatest radius, drawn evenly in the logarithm
    spacing_mm : width of a voxel

    Returns
    -------
    (N, 1, x, y, z), with the same values
    """
    changed = anatomy
    low, high = (math.log(radius / spacing_mm) for radius in radii_mm)
    chosen = torch.rand(len(anatomy), device="cpu") < share
    counts = torch.randint(1, _MOST_BLOBS + 1, (len(anatomy),), device="cpu") * chosen
    for number in range(_MOST_BLOBS):
        radius = (low + (high - low) * torch.rand(len(anatomy), device="cpu")).exp()
        inside = _blobs(brain_mask, radius.to(anatomy.device))
        inside &= (number < counts).to(anatomy.device)[:, None, None, None, None]
        label = torch.randint(1, classes + 1, (len(anatomy),), device=anatomy.device) / classes
        label = label.to(anatomy.dtype)[:, None, None, None, None]
        changed = torch.where(inside, label, changed)
    return changed * brain_mask


def _blobs(brain_mask: Tensor, radius: Tensor) -> Tensor:
    """One rough ball in each brain: (N, 1, x, y, z) bool. `radius` (N,) in voxels."""
    count, size, device = len(brain_mask), brain_mask.shape[2:], brain_mask.device
    # The brain's voxel with the highest of random numbers: a centre without asking the device.
    scores = torch.rand(count, brain_mask[0].numel(), device=device) * brain_mask.flatten(1)
    centre = scores.argmax(1)
    distance = torch.zeros(count, *size, device=device)
    for axis in (2, 1, 0):
        place = centre % size[axis]
        centre = torch.div(centre, size[axis], rounding_mode="floor")
        steps = torch.arange(size[axis], device=device) - place[:, None]
        shape = [count, 1, 1, 1]
        shape[axis + 1] = size[axis]
        distance = distance + steps.square().view(shape)
    coarse = [max(2, n // 4) for n in size]
    rough = F.interpolate(
        torch.randn(count, 1, *coarse, device=device), size=size, mode="trilinear"
    )
    spread = (radius * _ROUGHNESS)[:, None, None, None, None]
    return distance.sqrt()[:, None] + spread * rough < radius[:, None, None, None, None]
