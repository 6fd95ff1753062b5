"""The soft-introspective VAE of PHANES.

Daniel, Tamar, "Soft-IntroVAE: analyzing and improving the introspective variational autoencoder",
CVPR 2021.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.phanes.settings import PHANESSettings
from dal_auto.networks.precision import at_least_single

_SLOPE = 0.2


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a way past them."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.straight: nn.Module = nn.Identity()
        if before != width:
            self.straight = nn.Conv2d(before, width, 1, bias=False)
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        return F.leaky_relu(self.convolutions(features) + self.straight(features), _SLOPE)


class Encoder(nn.Module):
    """Slices → μ and log σ² of the code, and the features after each pool."""

    def __init__(self, settings: PHANESSettings) -> None:
        super().__init__()
        widths, grid = settings.widths, settings.grid
        self.first = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, padding=2, bias=False), nn.BatchNorm2d(widths[0]),
            nn.LeakyReLU(_SLOPE),
        )  # fmt: skip
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise(widths))
        self.last = ResidualBlock(widths[-1], widths[-1])
        self.heads = nn.Linear(widths[-1] * grid**2, 2 * settings.code_length)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        pooled = [F.avg_pool2d(self.first(slices), 2)]
        for block in self.blocks:
            pooled.append(F.avg_pool2d(block(pooled[-1]), 2))
        code = self.heads(self.last(pooled[-1]).flatten(1)).float()
        mean, log_variance = code.chunk(2, dim=1)
        return mean, log_variance, pooled


class Decoder(nn.Module):
    """Code (n, z) → slices in [0, 1]."""

    def __init__(self, settings: PHANESSettings) -> None:
        super().__init__()
        widths = settings.widths[::-1]
        self.shape = (widths[0], settings.grid, settings.grid)
        self.widen = nn.Linear(settings.code_length, widths[0] * settings.grid**2)
        layers: list[nn.Module] = []
        for before, width in pairwise((widths[0], *widths)):
            layers += [ResidualBlock(before, width), nn.Upsample(scale_factor=2)]
        layers += [ResidualBlock(widths[-1], widths[-1]), nn.Conv2d(widths[-1], 1, 5, padding=2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Tensor) -> Tensor:
        slices: Tensor = self.layers(F.relu(self.widen(code)).unflatten(1, self.shape))
        return slices.float().sigmoid()


def drawn_code(mean: Tensor, log_variance: Tensor) -> Tensor:
    """z = μ + ε·σ."""
    return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of N(μ, σ²) from N(0, 1), for each slice: (n, z) → (n,)."""
    mean, log_variance = at_least_single(mean), at_least_single(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)


def squared_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Sum over each slice: (n,)."""
    return (found - wanted).square().flatten(1).sum(dim=1)


def embedding_error(features: list[Tensor], others: list[Tensor]) -> Tensor:
    """Σ over layers of half the mean squared difference, and 1 − cos of whole maps."""
    total = torch.zeros((), device=features[0].device)
    for one, other in zip(features, others, strict=True):
        one, other = one.flatten(1).float(), other.flatten(1).float()
        angle = F.cosine_similarity(one, other)
        total = total + F.mse_loss(one, other) / 2 + (1 - angle).mean()
    return total
