"""FPI: find the square of a slice that was mixed with another subject's, and how far.

Tan, Hou, Batten, Qiu, Kainz, "Detecting outliers with foreign patch interpolation", Machine
Learning for Biomedical Imaging (MELBA) 2022; entry to the MICCAI challenge MOOD 2020. Layers and
numbers follow the published code, jemtan/FPI (TensorFlow 2, no licence; read for facts only).

Deviations: patches keep to the brain; a voxel counts as foreign where the subjects differ by more
than 0.01 (theirs: at all, which is everywhere in data of floating point); no early stopping by a
fresh pair; training stops where the plans say.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.shapes import drawn_squares
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper


class FPISettings(SliceSettings):
    """Hyper-parameters of FPI."""

    slices_per_step: int = paper(32, "its batch", ge=2)
    input_side: int = paper(256, "slices of 256×256", ge=16)
    stem_width: int = paper(16, "of a wide residual net", ge=1)
    widening: int = paper(4, "k, of depth 16", ge=1)
    least_half_side: float = paper(0.05, "of a square, in shares of the slice's side", gt=0, lt=0.5)
    most_half_side: float = paper(0.2, "the same", gt=0, lt=0.5)
    centres_within: float = paper(0.5, "middle share of each axis", gt=0, le=1)
    least_mixing: float = paper(0.05, "α", ge=0, le=1)
    most_mixing: float = paper(0.95, "α", ge=0, le=1)
    least_difference: float = ours(0.01, "intensities that differ less are not foreign", ge=0)


class Block(nn.Module):
    """A residual block with activation first; narrower or wider, coarser or finer on its way.

    Parameters
    ----------
    resize : 2 halves the slice, 1 keeps it, −2 doubles it (nearest neighbour)
    """

    def __init__(self, before: int, width: int, resize: int) -> None:
        super().__init__()
        stride = max(resize, 1)
        self.doubling = resize < 0
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.narrow = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.second = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)
        )
        self.shortcut: nn.Module = nn.Identity()
        if before != width:
            self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
        elif stride > 1:
            self.shortcut = nn.AvgPool2d(stride)

    def forward(self, features: Tensor) -> Tensor:
        straight, found = self.shortcut(features), self.narrow(self.first(features))
        if self.doubling:
            straight, found = (F.interpolate(x, scale_factor=2) for x in (straight, found))
        total: Tensor = straight + self.second(found)
        return total


class WideResidualNet(nn.Sequential):
    """Encoder and decoder of residual blocks without skips: slices → logits of the same size."""

    def __init__(self, stem: int, widening: int) -> None:
        wide = stem * widening
        down = [(wide, 1), (2 * wide, 2), (4 * wide, 2), (4 * wide, 2), (4 * wide, 2)]
        up = [(2 * wide, -2), (wide, -2), (stem, -2), (1, -2)]
        layers: list[nn.Module] = [nn.Conv2d(1, stem, 3, padding=1, bias=False)]
        before = stem
        for width, resize in (*down, *up):
            layers.append(Block(before, width, resize))
            before = width
        super().__init__(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


class FPI(SliceMethod):
    """Foreign patch interpolation."""

    name = "FPI"
    Settings = FPISettings
    settings: FPISettings
    own_training = MappingProxyType({"learning_rate": (1e-3, "the published code")})
    in_pairs = True
    network: WideResidualNet

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.network = WideResidualNet(self.settings.stem_width, self.settings.widening)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> FPISettings:
        if not configuration.is_small:
            return FPISettings()
        return FPISettings(input_side=64, widening=1)

    @property
    def side(self) -> int:
        return self.settings.input_side

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s = self.settings
        squares = drawn_squares(
            len(slices), s.input_side, (s.least_half_side, s.most_half_side), s.centres_within,
            slices.device,
        )  # fmt: skip
        mixing = torch.empty(len(slices), 1, 1, 1, device=slices.device)
        mixing.uniform_(s.least_mixing, s.most_mixing)
        mixed, label = interpolated(slices, squares * brain, mixing, s.least_difference)
        loss = F.binary_cross_entropy_with_logits(self.network(mixed), label)
        return {"loss": loss}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        return None, {"": self.network(slices).sigmoid()}


def interpolated(
    pairs: Tensor, patches: Tensor, mixing: Tensor, least_difference: float
) -> tuple[Tensor, Tensor]:
    """Each slice with a part of its partner mixed in, and how much of it is foreign.

    Parameters
    ----------
    pairs : (2n, 1, h, w); slice i and slice n + i are partners
    patches : (2n, 1, h, w), 0 or 1
    mixing : (2n, 1, 1, 1), α: the share of the slice itself that is left

    Returns
    -------
    mixed : α·x₁ + (1 − α)·x₂ within the patch
    label : 1 − α within the patch, where partners differ; else 0
    """
    partners = torch.cat(pairs.chunk(2)[::-1])
    foreign = patches * (1 - mixing)
    label = foreign * ((pairs - partners).abs() > least_difference)
    return pairs + foreign * (partners - pairs), label
