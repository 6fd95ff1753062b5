"""DAE: a U-Net that removes coarse noise, and with it what is not healthy.

Kascenas, Pugeault, O'Neil, "Denoising autoencoders for unsupervised anomaly detection in brain
MRI", MIDL 2022; Kascenas et al., "The role of noise in denoising models for anomaly detection in
medical images", Medical Image Analysis 2023.

Deviations: one channel (theirs stacks four sequences); the noise is rolled by another shift for
each slice (theirs: one shift for a batch); Adam without amsgrad and without the cosine schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.slices import RestoringMethod, SliceSettings
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper


class DAESettings(SliceSettings):
    """Hyper-parameters of DAE."""

    slices_per_step: int = paper(16, "its batch", ge=1)
    widths: tuple[int, ...] = paper((64, 128, 256, 512), "4 levels from 64")
    noise_std: float = paper(0.2, "of the coarse noise", gt=0)
    noise_cell_mm: float = ours(15.0, "theirs: 16 cells across 128 pixels of 1.875 mm", gt=0)


class StandardisedConv(nn.Conv2d):
    """3×3 convolution, reflected at the border, each filter brought to mean 0 and variance 1."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__(before, width, 3, padding=1, padding_mode="reflect")

    def forward(self, slices: Tensor) -> Tensor:
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        variance = self.weight.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) / (variance + 1e-5).sqrt()
        return self._conv_forward(slices, weight, self.bias)


def _groups(width: int) -> int:
    """The divisor in the middle, as published: 8, 16, 16, 32 for 64, 128, 256, 512."""
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    return divisors[len(divisors) // 2]


class Block(nn.Sequential):
    """Twice: convolution, Swish, group norm."""

    def __init__(self, before: int, width: int) -> None:
        layers: list[nn.Module] = []
        for source in (before, width):
            layers += [StandardisedConv(source, width), nn.SiLU()]
            layers.append(nn.GroupNorm(_groups(width), width))
        super().__init__(*layers)


class DenoisingUNet(nn.Module):
    """Average pooling down, 2×2 transposed convolutions up, concatenated skips, linear output."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.first = Block(1, widths[0])
        self.down = nn.ModuleList(Block(before, width) for before, width in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, before, 2, stride=2) for before, width in reversed(pairs)
        )
        self.merge = nn.ModuleList(Block(2 * before, before) for before, _ in reversed(pairs))
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, slices: Tensor) -> Tensor:
        seen = [self.first(slices)]
        for block in self.down:
            seen.append(block(F.avg_pool2d(seen[-1], 2)))
        x = seen.pop()
        for widen, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([seen.pop(), widen(x)], dim=1))
        restored: Tensor = self.last(x)
        return restored


class DAE(RestoringMethod):
    """Trained to remove noise of a lesion's size; asked with the clean image."""

    name = "DAE"
    Settings = DAESettings
    settings: DAESettings
    own_training = MappingProxyType(
        {"weight_decay": (1e-5, "the published code"), "clip_norm": (0.5, "the published code")}
    )
    network: DenoisingUNet

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.multiple = 2 ** (len(self.settings.widths) - 1)
        if any(width < 1 for width in self.settings.widths):
            raise PlansError("method.settings.widths", self.settings.widths, "at least 1 each")
        self.network = DenoisingUNet(self.settings.widths)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DAESettings:
        if not configuration.is_small:
            return DAESettings()
        return DAESettings(widths=(16, 32, 64), slices_per_step=32)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        inside = (slices > 0).float()
        spacing_mm = self.plans.configuration.spacing_mm[:2]
        cells = noise_cells(slices.shape[2:], spacing_mm, self.settings.noise_cell_mm)
        noise = coarse_noise(slices, cells) * self.settings.noise_std * inside
        restored = self.network(slices + noise)
        loss = ((restored - slices).square() * inside).mean()
        return {"loss": loss, "recon": loss}

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        restored: Tensor = self.network(slices)
        return restored


def noise_cells(size: Sequence[int], spacing_mm: Sequence[float], cell_mm: float) -> list[int]:
    """How many cells of `cell_mm` there are across slices of `size` voxels; at least 2."""
    return [
        max(2, round(voxels * mm / cell_mm)) for voxels, mm in zip(size, spacing_mm, strict=True)
    ]


def coarse_noise(slices: Tensor, cells: list[int]) -> Tensor:
    """Standard normal numbers on a grid of `cells`, drawn out to the slices' size and rolled.

    Returns
    -------
    (n, 1, h, w); of standard deviation 1 at the grid's points, less between them
    """
    count, _, height, width = slices.shape
    drawn = torch.randn(count, 1, *cells, device=slices.device)
    noise = F.interpolate(drawn, (height, width), mode="bilinear", align_corners=True)
    # Drawn on the CPU: a shift by a number on the device would have to be waited for.
    shifts = torch.stack([torch.randint(height, (count,)), torch.randint(width, (count,))], dim=1)
    return torch.stack(
        [one.roll(shift, dims=(1, 2)) for one, shift in zip(noise, shifts.tolist(), strict=True)]
    )
