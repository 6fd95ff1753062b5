"""MOOD22: a U-Net that segments synthetic anomalies of many shapes, with soft edges.

In the manner of Naval Marimont, Tarroni, "Achieving state-of-the-art performance in the medical
out-of-distribution (MOOD) challenge using plausible synthetic anomalies", arXiv 2308.01412, 2023,
the winner of MOOD 2022 (no method of DAL's paper). Sizes and numbers follow the published code,
snavalm/mood22 (MIT; facts only).

Deviations: axial slices (theirs: volumes of 160³), which a CPU can train; patches are mixed in
linearly (theirs: by Poisson's equation, or so); rough shapes are drawn (theirs: a set of masks);
a foreign patch is another slice of the step, mirrored and shifted; one network, where they have
several; no augmentation beside the plans'.
"""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.corruption import other_slices
from dal_auto.methods.shapes import boxes, drawn_places, rough_discs
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

#: A mask is averaged over so many pixels along each axis, each as often as it stands here.
_EDGES = (1, 1, 1, 1, 3, 3, 5, 7)
_SLOPE = 0.01
#: Discs have an edge of a hair, which is what keeps their formula finite.
_HARD_MM = (1e-3, 2e-3)


class MOOD22Settings(SliceSettings):
    """Hyper-parameters of MOOD22."""

    slices_per_step: int = ours(16, "theirs: 4 volumes", ge=2)
    widths: tuple[int, ...] = paper((32, 64, 128, 256, 320, 320), "6 levels, nnU-Net's")
    supervised: int = paper(4, "finest levels whose output is compared, too", ge=1)
    anomalous_share: float = paper(0.9, "of the slices", gt=0, le=1)
    least_strength: float = paper(0.3, "α", ge=0, le=1)
    most_strength: float = paper(1.0, "α", ge=0, le=1)
    least_size_mm: float = paper(10.0, "across a shape", gt=0)
    most_size_mm: float = paper(108.0, "the same; 20 less than a patch of 128", gt=0)
    roughness: float = ours(0.4, "of rough shapes, in shares of their radius", ge=0, lt=1)
    varied_share: float = paper(0.2, "of foreign patches that are shifted, and that get noise")
    most_shift: float = paper(0.2, "of a patch's intensities", ge=0)
    noise_std: float = paper(0.2, "of a patch's noise", ge=0)


class SegmentingUNet(nn.Module):
    """Strided convolutions down, transposed ones up, concatenated skips, an output a level."""

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.first = _two(1, widths[0], 1)
        self.down = nn.ModuleList(_two(before, width, 2) for before, width in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, before, 2, stride=2, bias=False)
            for before, width in reversed(pairs)
        )
        self.merge = nn.ModuleList(_two(2 * before, before, 1) for before, _ in reversed(pairs))
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 1, 1, bias=False) for width in reversed(widths[:outputs])
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)

    def forward(self, slices: Tensor) -> list[Tensor]:
        """(n, 1, h, w) → logits of the finest levels, finest first."""
        seen = [self.first(slices)]
        for block in self.down:
            seen.append(block(seen[-1]))
        x, levels = seen.pop(), []
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([seen.pop(), up(x)], dim=1))
            levels.append(x)
        last = levels[-len(self.heads) :]
        return [head(one) for head, one in zip(self.heads, last, strict=True)][::-1]


def _two(before: int, width: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, step in ((before, stride), (width, 1)):
        layers.append(nn.Conv2d(source, width, 3, step, padding=1, bias=False))
        layers += [nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers)


class MOOD22(SliceMethod):
    """Segmentation of synthetic anomalies."""

    name = "MOOD22"
    Settings = MOOD22Settings
    settings: MOOD22Settings
    own_training = MappingProxyType(
        {
            "learning_rate": (1e-3, "the most that the published code's schedule has"),
            "decay_power": (0.9, "theirs: one cycle"),
            "weight_decay": (1e-5, "the published code"),
        }
    )
    network: SegmentingUNet

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        if s.supervised >= len(s.widths):
            rule = f"below the number of widths {len(s.widths)}"
            raise PlansError("method.settings.supervised", s.supervised, rule)
        self.multiple = 2 ** (len(s.widths) - 1)
        self.network = SegmentingUNet(s.widths, s.supervised)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> MOOD22Settings:
        if not configuration.is_small:
            return MOOD22Settings()
        return MOOD22Settings(widths=(16, 32, 64), supervised=2)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        weight = self.weights(brain)
        given = torch.lerp(slices, self.patches(slices), weight)
        return {"loss": supervised_loss(self.network(given), weight)}

    def weights(self, brain: Tensor) -> Tensor:
        """How much of each pixel is to be foreign: a box, a disc or a rough shape, times α."""
        s, count, device = self.settings, len(brain), brain.device
        rows_mm, columns_mm, _ = self.plans.configuration.spacing_mm
        spacing = (rows_mm, columns_mm)
        radii = (s.least_size_mm / 2, s.most_size_mm / 2)
        halves = torch.empty(count, 2, device=device).uniform_(*radii)
        half_sides = halves / torch.tensor(spacing, device=device)
        size = (brain.shape[2], brain.shape[3])
        shapes = torch.stack(
            [
                boxes(size, drawn_places(brain), half_sides) * (brain > 0.5),
                rough_discs(brain, spacing, radii, 0.0, _HARD_MM),
                rough_discs(brain, spacing, radii, s.roughness, _HARD_MM),
            ]
        )
        each = torch.arange(count, device=device)
        shape = shapes[torch.randint(3, (count,), device=device), each]
        smooth = {k: F.avg_pool2d(shape, k, 1, k // 2) for k in set(_EDGES)}
        edges = torch.stack([smooth[k] for k in _EDGES])
        soft = edges[torch.randint(len(_EDGES), (count,), device=device), each] * (brain > 0.5)
        strength = torch.empty(count, 1, 1, 1, device=device)
        strength.uniform_(s.least_strength, s.most_strength)
        return soft * strength * (torch.rand(count, 1, 1, 1, device=device) < s.anomalous_share)

    def patches(self, slices: Tensor) -> Tensor:
        """Other slices of the step, some of them with shifted intensities, some with noise."""
        s, count = self.settings, len(slices)
        shifted, noisy = (
            torch.rand(2, count, 1, 1, 1, device=slices.device) < s.varied_share
        ).unbind()
        shift = s.most_shift * (2 * torch.rand(count, 1, 1, 1, device=slices.device) - 1)
        noise = s.noise_std * torch.randn_like(slices)
        return (other_slices(slices) + shift * shifted + noise * noisy).clamp(0, 1)

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        return None, {"": self.network(slices)[0].sigmoid()}


def supervised_loss(logits: list[Tensor], weight: Tensor) -> Tensor:
    """Cross-entropy at each level; a level weighs half of the next finer one, together 1.

    Parameters
    ----------
    logits : (n, 1, h', w') each, finest first
    weight : (n, 1, h, w) in [0, 1], which the levels' positions take the mean of
    """
    shares = [0.5**number for number in range(len(logits))]
    sizes = [(one.shape[2], one.shape[3]) for one in logits]
    losses = [
        F.binary_cross_entropy_with_logits(one, F.adaptive_avg_pool2d(weight, size))
        for one, size in zip(logits, sizes, strict=True)
    ]
    return torch.stack(
        [share / sum(shares) * loss for share, loss in zip(shares, losses, strict=True)]
    ).sum()
