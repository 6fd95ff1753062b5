"""Anatomy extractor E_A, differentiable one-hot and weighted merging (paper §3.2.1, Eq. 1–4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.networks.blocks import UNet
from dal_auto.networks.region import region_of


class AnatomyExtractor(nn.Module):
    """E_A: a 3-D U-Net from one image to logits of the tissue classes, shared by all sequences."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.unet = UNet(1, widths)
        self.classify = nn.Conv3d(widths[0], classes, 1)

    def forward(self, image: Tensor, brain: Tensor | None = None) -> Tensor:
        """(N, 1, x, y, z) → logits A_c (N, C, x, y, z).

        Parameters
        ----------
        brain : (N, 1, x, y, z), 0 or 1: normalise over the brain alone
        """
        return self.classify(self.unet(image, region_of(brain)))


def differentiable_one_hot(logits: Tensor) -> Tensor:
    """A_doh (Eq. 1–3): exactly one-hot forward, the softmax's gradient backward.

    ``hard + (soft − stopgrad(soft))``: Eq. 3 with a bracket that is exactly 0 forward.

    Parameters
    ----------
    logits : (N, C, x, y, z)

    Returns
    -------
    (N, C, x, y, z), one channel 1 and the others 0 at every voxel
    """
    soft = logits.softmax(dim=1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


def merge_channels(one_hot: Tensor, brain_mask: Tensor) -> Tensor:
    """The anatomical image A (Eq. 4): (1/C) Σ_c c·A_doh^c ⊙ M_brain, values 0, 1/C, …, 1.

    Parameters
    ----------
    one_hot : (N, C, x, y, z)
    brain_mask : (N, 1, x, y, z), 0 or 1

    Returns
    -------
    (N, 1, x, y, z)
    """
    classes = one_hot.shape[1]
    weights = torch.arange(1, classes + 1, device=one_hot.device, dtype=one_hot.dtype) / classes
    return torch.einsum("ncxyz,c->nxyz", one_hot, weights)[:, None] * brain_mask


def halve(image: Tensor) -> Tensor:
    """x̄: the image at half resolution, what E_M sees (§3.2.2)."""
    return F.avg_pool3d(image, 2, ceil_mode=True)
