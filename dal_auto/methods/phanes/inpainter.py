"""The inpainter of PHANES, and its game.

Zeng, Fu, Chao, Guo, "Aggregated contextual transformations for high-resolution image inpainting",
IEEE Transactions on Visualization and Computer Graphics 2022 (AOT-GAN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.slices import smoothed
from dal_auto.networks.frozen import frozen

_DILATIONS = (1, 2, 4, 8)
_SMALL = 1e-6


class ContextBlock(nn.Module):
    """Convolutions of four dilations beside each other, let in by a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // len(_DILATIONS)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.ReflectionPad2d(d), nn.Conv2d(width, part, 3, dilation=d), nn.ReLU())
            for d in _DILATIONS
        )
        self.fuse = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.gate = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")

    def forward(self, features: Tensor) -> Tensor:
        found = self.fuse(torch.cat([branch(features) for branch in self.branches], dim=1))
        gate = self.gate(features)
        mean, deviation = gate.mean(dim=(2, 3), keepdim=True), gate.std(dim=(2, 3), keepdim=True)
        let_in = (5 * (2 * (gate - mean) / (deviation + 1e-9) - 1)).sigmoid()
        return torch.lerp(features, found, let_in)


class Inpainter(nn.Module):
    """Slices whose masked part is 1, and the mask → slices in [0, 1]."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        wide = 4 * width
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(2, width, 7), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * width, wide, 4, stride=2, padding=1), nn.ReLU(),
            *(ContextBlock(wide) for _ in range(blocks)),
            *_doubled(wide, 2 * width), *_doubled(2 * width, width),
            nn.Conv2d(width, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, slices: Tensor, mask: Tensor) -> Tensor:
        given = torch.cat([torch.lerp(slices, torch.ones_like(slices), mask), mask], dim=1)
        made: Tensor = self.layers(given).float().tanh()
        # The published code's clamp passes no gradient below 0. At our learning rates all pixels
        # got there within 60 steps, and stayed: the inpainter was dead, and painted 0 everywhere.
        return made + (made.clamp(0, 1) - made).detach()


def _doubled(before: int, width: int) -> list[nn.Module]:
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return [up, nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]


def masked_game(
    discriminator: nn.Module, completed: Tensor, slices: Tensor, mask: Tensor, sigma: float
) -> tuple[Tensor, Tensor]:
    """Losses of the inpainter and of the discriminator, which is to find the inpainted patches.

    Of healthy slices it is to say 1; of completed ones 1 − the smoothed mask. The inpainter has its
    share where the mask is. Neither reaches the other's weights.

    Parameters
    ----------
    completed : (n, 1, h, w) slices with their masked part inpainted
    """
    taken = discriminator(completed.detach())
    size = taken.shape[2:]
    left = 1 - F.adaptive_avg_pool2d(smoothed(mask, sigma), size)
    judge = F.mse_loss(taken, left) + (discriminator(slices) - 1).square().mean()
    within = F.adaptive_avg_pool2d(mask, size)
    error = (frozen(discriminator)(completed) - 1).square() * within
    return error.sum() / within.sum().clamp(min=_SMALL), judge
