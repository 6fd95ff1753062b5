"""Disyre: a U-Net that is told how strong a corruption is, and takes it back.

In the manner of Naval Marimont, Siomos, Baugh, Tzelepis, Kainz, Tarroni, "Ensembled cold-diffusion
restorations for unsupervised anomaly detection", MICCAI 2024 (DISYRE v2; no method of DAL's paper).
Sizes and numbers follow the published code, snavalm/disyre (no licence; read for facts only); the
network is MONAI's.

Deviations: whole axial slices (theirs: patches of 128²); soft shapes are drawn (theirs: a set of
masks, some blurred); a foreign patch is another slice of the step, mirrored and shifted; classes of
intensity are even (theirs: found in their data); levels of strength are even (theirs: along a
schedule of diffusion); the learning rate has no schedule, and weights have no moving average.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.corruption import corrupted
from dal_auto.methods.shapes import rough_discs
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.networks.diffusion_unet import diffusion_unet
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper


class DisyreSettings(SliceSettings):
    """Hyper-parameters of Disyre."""

    slices_per_step: int = ours(16, "theirs: 96 patches of 128²", ge=2)
    widths: tuple[int, ...] = paper((32, 64, 96, 128, 256, 256), "6 levels")
    residual_blocks: int = paper(2, "of each level", ge=1)
    attention_level: int = paper(5, "which one has attention; 1 is the finest", ge=0)
    head_channels: int = paper(8, "of a head of the attention", ge=1)
    norm_groups: int = paper(32, "of the group norm", ge=1)
    levels: int = paper(100, "of strength, which the network is told", ge=2)
    restorations: int = ours(10, "evenly spread over the levels; theirs all 100", ge=1)
    least_radius_mm: float = ours(4.0, "of a shape", gt=0)
    most_radius_mm: float = ours(32.0, "theirs: within patches of 64 pixels", gt=0)
    roughness: float = ours(0.4, "of its outline, in shares of the radius", ge=0, lt=1)
    least_edge_mm: float = ours(1.0, "of its soft edge", gt=0)
    most_edge_mm: float = ours(10.0, "theirs: blurred by up to 5 pixels", gt=0)


class DisyreNetwork(nn.Module):
    """Slices (n, 1, h, w) and levels of strength (n,) → the slices as they were before."""

    def __init__(self, settings: DisyreSettings) -> None:
        super().__init__()
        s = settings
        self.unet = diffusion_unet(
            "Disyre",
            s.widths,
            [number == s.attention_level for number in range(1, len(s.widths) + 1)],
            num_res_blocks=s.residual_blocks,
            num_head_channels=s.head_channels,
            norm_num_groups=s.norm_groups,
        )

    def forward(self, slices: Tensor, levels: Tensor) -> Tensor:
        restored: Tensor = self.unet(slices, levels)
        return restored


class Disyre(SliceMethod):
    """Restorations of synthetic corruption, averaged over how strong it is said to be."""

    name = "Disyre"
    Settings = DisyreSettings
    settings: DisyreSettings
    network: DisyreNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s, prefix = self.settings, "method.settings"
        if any(width % s.norm_groups for width in s.widths):
            rule = f"multiples of norm_groups {s.norm_groups}"
            raise PlansError(f"{prefix}.widths", s.widths, rule)
        if s.restorations > s.levels:
            raise PlansError(f"{prefix}.restorations", s.restorations, f"at most {s.levels} levels")
        self.multiple = 2 ** (len(s.widths) - 1)
        self.network = DisyreNetwork(s)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DisyreSettings:
        if not configuration.is_small:
            return DisyreSettings()
        return DisyreSettings(
            widths=(16, 32, 32), residual_blocks=1, attention_level=3, norm_groups=8
        )

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s = self.settings
        rows_mm, columns_mm, _ = self.plans.configuration.spacing_mm
        radii, edges = (s.least_radius_mm, s.most_radius_mm), (s.least_edge_mm, s.most_edge_mm)
        shapes = rough_discs(brain, (rows_mm, columns_mm), radii, s.roughness, edges)
        given = corrupted(slices, shapes)
        levels = (given.strength * (s.levels - 1)).round().long()
        loss = F.mse_loss(self.network(given.slices, levels), slices)
        return {"loss": loss, "recon": loss}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores: "" is the mean of |x − x̂| over strengths; the restored slice is their mean."""
        restored, score = torch.zeros_like(slices), torch.zeros_like(slices)
        told = np.linspace(self.settings.levels - 1, 0, self.settings.restorations).round()
        for level in told.astype(int).tolist():
            levels = torch.full((len(slices),), level, device=slices.device)
            found = self.network(slices, levels).clamp(0, 1)
            restored += found / len(told)
            score += (slices - found).abs() / len(told)
        return restored, {"": score}
