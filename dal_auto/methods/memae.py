"""MemAE: an autoencoder whose code is rebuilt from a memory of normal patterns.

Gong, Liu, Le, Saha, Mansour, Venkatesh, van den Hengel, "Memorizing normality to detect anomaly:
memory-augmented deep autoencoder for unsupervised anomaly detection", ICCV 2019.

Deviations: slices instead of the published code's video clips (no 2-D code was released), so the
same layers in 2-D; λ follows the number of items (their 0.0025 is 5/N of their N = 2000).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.method import Batch
from dal_auto.methods.slices import RestoringMethod, SliceSettings, drawn_slices
from dal_auto.networks.memory import MemoryUnit, entropy
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

_SLOPE = 0.2
_LEAST_USED = 0.01


class MemAESettings(SliceSettings):
    """Hyper-parameters of MemAE."""

    slices_per_step: int = paper(10, "its batch", ge=1)
    widths: tuple[int, ...] = paper((96, 128, 256, 256), "of the published code, in 2-D")
    items: int = paper(2000, "N", ge=2)
    shrinkage_per_item: float = ours(2.0, "λ·N; the paper says 1 to 3, its code has 5", gt=0)
    similarity: Literal["dot", "cosine"] = paper("dot", "the code's; the text says cosine")
    weight_entropy: float = paper(2e-4, "of the addressing", ge=0)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """(key, rule) of values that contradict others."""
        # A softmax of cosines is below 2/N everywhere: all is shrunk to 0, without a gradient.
        if self.similarity == "cosine" and self.shrinkage_per_item > 1:
            rule = "with similarity=cosine at most 1: above, no item is ever addressed"
            yield "shrinkage_per_item", rule


class MemAENetwork(nn.Module):
    """Encoder of stride-2 convolutions, memory, mirrored decoder; data in [−1, 1]."""

    def __init__(self, widths: Sequence[int], memory: MemoryUnit) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        before = 1
        for width in widths:
            encoder.append(nn.Conv2d(before, width, 3, stride=2, padding=1))
            encoder += [nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
            before = width
        decoder: list[nn.Module] = []
        for width in reversed(widths[:-1]):
            decoder.append(_doubling(before, width))
            decoder += [nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
            before = width
        self.encoder = nn.Sequential(*encoder)
        self.memory = memory
        self.decoder = nn.Sequential(*decoder, _doubling(before, 1))

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, h, w) in [−1, 1] → restored slices, and the memory's weights."""
        rebuilt, weights = self.memory(self.encoder(slices))
        return self.decoder(rebuilt), weights


def _doubling(before: int, width: int) -> nn.Module:
    return nn.ConvTranspose2d(before, width, 3, stride=2, padding=1, output_padding=1)


class MemAE(RestoringMethod):
    """What the memory does not hold cannot be rebuilt."""

    name = "MemAE"
    Settings = MemAESettings
    settings: MemAESettings
    network: MemAENetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.multiple = 2 ** len(self.settings.widths)
        s = self.settings
        shrinkage = s.shrinkage_per_item / s.items
        memory = MemoryUnit(s.items, s.widths[-1], shrinkage, s.similarity)
        self.network = MemAENetwork(s.widths, memory)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> MemAESettings:
        if not configuration.is_small:
            return MemAESettings()
        return MemAESettings(widths=(16, 32, 64), items=100, slices_per_step=32)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        wanted = 2 * slices - 1
        restored, weights = self.network(wanted)
        recon, spread = F.mse_loss(restored, wanted), entropy(weights)
        loss = recon + self.settings.weight_entropy * spread
        return {"loss": loss, "recon": recon, "entropy": spread}

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        restored: Tensor = self.network(2 * slices - 1)[0]
        return (restored + 1) / 2

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Share of the memory's items that any code vector uses, beside what every restoration
        has."""
        figures = super().watch(batch)
        slices, _ = drawn_slices(batch, self.settings.slices_per_step)
        _, weights = self.network(2 * self._sized(slices) - 1)
        return figures | items_used(weights)

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return super().warnings(figures) + warnings_of_memory(figures)


def items_used(weights: Tensor) -> dict[str, Tensor]:
    """Share of a memory's items that any code vector uses, as a figure to watch."""
    return {"items_used": (weights > 0).any(dim=0).float().mean()}


def warnings_of_memory(figures: Mapping[str, float]) -> list[str]:
    """What `items_used` says of a memory that is hardly used."""
    used = figures.get("items_used", 1.0)
    if used >= _LEAST_USED:
        return []
    return [
        f"the memory is hardly used ({used:.1%} of its items). Try fewer method.settings.items "
        "or a lower method.settings.shrinkage_per_item"
    ]
