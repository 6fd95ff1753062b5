"""ProxyAno: a slice is restored from its superpixels, which a memory of healthy slices predicts.

Zhou, Li, Luo, Li, Yang, Fu, Cheng, Liu, Gao, "Proxy-bridged image reconstruction network for
anomaly detection in medical images", IEEE Transactions on Medical Imaging 41(3), 2022, 582–594.

Re-implemented from the abstract: its authors published no code, and its section on implementation
was not at hand. The two modules, the proxy, the memory and the pasted patches are the paper's; all
sizes and weights are ours, the adversarial weight that of the same authors' P-Net
(ClancyZhou/P_Net_Anomaly_Detection, no licence; read for facts only). One rate of learning holds
for the discriminator too (P-Net's is a tenth).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.dae import DenoisingUNet
from dal_auto.methods.memae import MemAENetwork, items_used, warnings_of_memory
from dal_auto.methods.method import Batch
from dal_auto.methods.shapes import boxes, drawn_places, shifted
from dal_auto.methods.slices import RestoringMethod, SliceSettings, drawn_slices
from dal_auto.networks.memory import MemoryUnit, entropy
from dal_auto.networks.patch_discriminator import PatchDiscriminator, players_losses
from dal_auto.networks.superpixels import superpixel_image
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours


class ProxyAnoSettings(SliceSettings):
    """Hyper-parameters of ProxyAno."""

    slices_per_step: int = ours(16, "the paper's was not at hand", ge=1)
    widths: tuple[int, ...] = ours((32, 64, 128, 256), "of both modules")
    items: int = ours(500, "of the memory", ge=2)
    shrinkage_per_item: float = ours(2.0, "λ·N, as MemAE", gt=0)
    superpixel_mm2: float = ours(49.0, "mean area of a superpixel", gt=0)
    compactness: float = ours(0.1, "intensity that weighs as much as a superpixel's width", gt=0)
    superpixel_steps: int = ours(5, "of k-means; more change little", ge=1)
    least_patch: float = ours(0.08, "side of a pasted patch, in shares of the brain's width", gt=0)
    most_patch: float = ours(0.25, "the same", gt=0, le=1)
    weight_entropy: float = ours(2e-4, "of the addressing, as MemAE", ge=0)
    weight_adversarial: float = ours(0.1, "P-Net's; 0 does without a discriminator", ge=0)
    discriminator_width: int = ours(64, "of its first layer", ge=1)
    detached_share: float = ours(
        0.1, "of the steps, in which the proxy learns from superpixels alone", ge=0, le=1
    )


class ProxyAnoNetwork(nn.Module):
    """Slice → proxy, proxy → slice, and who tells restored slices from real ones."""

    def __init__(self, settings: ProxyAnoSettings) -> None:
        super().__init__()
        s = settings
        memory = MemoryUnit(s.items, s.widths[-1], s.shrinkage_per_item / s.items, "dot")
        self.proxy = MemAENetwork(s.widths, memory)
        self.restorer = DenoisingUNet(s.widths)
        self.discriminator: nn.Module = nn.Identity()
        if s.weight_adversarial:
            self.discriminator = PatchDiscriminator(s.discriminator_width)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, h, w) in [0, 1] → the superpixels foretold, and the memory's weights."""
        found, weights = self.proxy(2 * slices - 1)
        return (found + 1) / 2, weights


class ProxyAno(RestoringMethod):
    """Proxy-bridged restoration."""

    name = "ProxyAno"
    Settings = ProxyAnoSettings
    settings: ProxyAnoSettings
    network: ProxyAnoNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.multiple = 2 ** len(self.settings.widths)
        self.network = ProxyAnoNetwork(self.settings)
        self._joined = True

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> ProxyAnoSettings:
        if not configuration.is_small:
            return ProxyAnoSettings()
        return ProxyAnoSettings(
            widths=(16, 32, 64), items=64, superpixel_mm2=300.0, weight_adversarial=0.0,
        )  # fmt: skip

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """At first the restorer's errors do not reach the proxy, which would become a code else."""
        self._joined = step >= self.settings.detached_share * self.plans.training.steps
        return super().training_step(batch, step)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s = self.settings
        superpixels = self.superpixels(slices, brain)
        proxy, weights = self.network(slices)
        changed = pasted(superpixels, slices, brain, (s.least_patch, s.most_patch))
        given = torch.cat([proxy if self._joined else proxy.detach(), changed])
        restored, mended = self.network.restorer(given).chunk(2)
        losses = {
            "proxy": F.l1_loss(proxy, superpixels),
            "recon": F.l1_loss(restored, slices),
            "mended": F.l1_loss(mended, slices),
        }
        loss = torch.stack(list(losses.values())).sum()
        losses["entropy"] = entropy(weights)
        loss = loss + s.weight_entropy * losses["entropy"]
        if s.weight_adversarial:
            maker, judge = players_losses(self.network.discriminator, restored, slices)
            losses |= {"adversarial": maker, "discriminator": judge}
            loss = loss + s.weight_adversarial * maker + judge
        return {"loss": loss, **losses}

    def superpixels(self, slices: Tensor, brain: Tensor) -> Tensor:
        """Slices with each superpixel filled with its mean."""
        s = self.settings
        side_mm = s.superpixel_mm2**0.5
        rows_mm, columns_mm, _ = self.plans.configuration.spacing_mm
        cell = (side_mm / rows_mm, side_mm / columns_mm)
        return superpixel_image(slices, brain, cell, s.compactness, s.superpixel_steps)

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        restored: Tensor = self.network.restorer(self.network(slices)[0])
        return restored

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        figures = super().watch(batch)
        slices, _ = drawn_slices(batch, self.settings.slices_per_step)
        return figures | items_used(self.network(self._sized(slices))[1])

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return super().warnings(figures) + warnings_of_memory(figures)


def pasted(
    superpixels: Tensor, slices: Tensor, brain: Tensor, sides: tuple[float, float]
) -> Tensor:
    """Superpixels with a square of the slice itself, from another place, in each.

    Parameters
    ----------
    superpixels, slices, brain : (n, 1, h, w)
    sides : least and most of a square's side, in shares of the brain's width along its rows
    """
    inside = brain > 0.5
    width = inside.any(dim=3).sum(dim=2)
    half = width / 2 * torch.empty_like(width, dtype=torch.float32).uniform_(*sides)
    place = drawn_places(brain)
    square = boxes((slices.shape[2], slices.shape[3]), place, half.expand(-1, 2)) * inside
    foreign = shifted(slices, drawn_places(brain) - place)
    return torch.lerp(superpixels, foreign, square)
