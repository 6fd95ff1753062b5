"""What methods paste into healthy slices: foreign patches, and other intensities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dal_auto.methods.slices import smoothed

#: Classes of intensity, of which some are changed, and how soft their borders are in pixels.
_CLASSES, _CLASS_SIGMA = 5, 1.0


@dataclass(frozen=True, eq=False)
class Corrupted:
    """Slices with something pasted in.

    Parameters
    ----------
    slices : (n, 1, h, w) in [0, 1]
    strength : (n,) in [0, 1]
    """

    slices: Tensor
    strength: Tensor


def other_slices(slices: Tensor) -> Tensor:
    """Another slice of the batch for each, mirrored, turned by 90° where it is square, shifted."""
    count, device = len(slices), slices.device

    def some() -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device) < 0.5

    found = slices.roll(1, dims=0)
    for axis in (2, 3):
        found = torch.where(some(), found.flip(axis), found)
    if slices.shape[2] == slices.shape[3]:
        found = torch.where(some(), found.transpose(2, 3), found)
    return found.roll((slices.shape[2] // 4, slices.shape[3] // 4), dims=(2, 3))


def patched(slices: Tensor, shapes: Tensor, strength: Tensor) -> Tensor:
    """x·(1 − α·S) + α·S·f, f another slice brought to the range that x has within the shape.

    Parameters
    ----------
    slices, shapes : (n, 1, h, w)
    strength : (n,), α
    """
    within = shapes > 0
    foreign = other_slices(slices)
    (low, high), (least, most) = (_range_within(one, within) for one in (slices, foreign))
    foreign = ((foreign - least) / (most - least).clamp(min=1e-3)).clamp(0, 1)
    return torch.lerp(slices, low + foreign * (high - low), shapes * strength[:, None, None, None])


def _range_within(slices: Tensor, within: Tensor) -> tuple[Tensor, Tensor]:
    """Least and most of each slice in a region: (n, 1, 1, 1) each; 0 and 1 where it is empty."""
    axes = (1, 2, 3)
    low = torch.where(within, slices, 1.0).amin(dim=axes, keepdim=True)
    high = torch.where(within, slices, 0.0).amax(dim=axes, keepdim=True)
    some = within.any(dim=3, keepdim=True).any(dim=2, keepdim=True)
    return torch.where(some, low, 0.0), torch.where(some, high, 1.0)


def biased(slices: Tensor, shapes: Tensor, strength: Tensor) -> Tensor:
    """Brighter or darker by α within the shape, in some of the intensities that are there.

    Each class of intensities is chosen as often as its share of the shape; where none is, all are.
    """
    count, device = len(slices), slices.device
    classes = (slices * _CLASSES).long().clamp(0, _CLASSES - 1)
    number = torch.arange(_CLASSES, device=device)[:, None, None]
    members = classes == number  # (n, class, h, w)
    shares = (members & (shapes > 0)).sum(dim=(2, 3)).float()
    shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
    chosen = torch.rand(count, _CLASSES, device=device) < shares
    chosen = chosen | ~chosen.any(dim=1, keepdim=True)
    where = (members & chosen[:, :, None, None]).any(dim=1, keepdim=True).float()
    sign = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    change = (sign * strength)[:, None, None, None] * shapes * smoothed(where, _CLASS_SIGMA)
    return (slices + change).clamp(0, 1)


def corrupted(slices: Tensor, shapes: Tensor) -> Corrupted:
    """A foreign patch and then a bias in each shape, both of a strength drawn evenly.

    The strength told is the larger of the patch's α and the largest change that the bias made.
    """
    patch, bias = torch.rand(2, len(slices), device=slices.device)
    foreign = patched(slices, shapes, patch)
    found = biased(foreign, shapes, bias)
    changed = (found - foreign).abs().amax(dim=(1, 2, 3))
    patch = torch.where((foreign == slices).all(dim=3).all(dim=2)[:, 0], 0.0, patch)
    return Corrupted(found, torch.maximum(patch, changed))
