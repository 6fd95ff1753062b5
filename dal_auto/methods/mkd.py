"""MKD: a small clone learns what a VGG says of healthy slices; where they part is anomalous.

Salehi, Sadjadi, Baselizadeh, Rohban, Rabiee, "Multiresolution knowledge distillation for anomaly
detection", CVPR 2021. Sizes and numbers follow the published code,
rohban-lab/Knowledge_Distillation_AD (no licence; read for facts only).

With ``backbone=efficientnet-lite2`` the source's four maps stand for pools 2 to 5. They have
negative values, so the clone's layers before these pools have no ReLU.

Deviations: the gradient's magnitude is kept in one unit for all slices (theirs is clipped and
scaled for each); neither guided backpropagation nor SmoothGrad; no dilation of thresholded maps.
The variant "feature", a distance at each position without a backward pass, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.features import FeatureMethod, TrunkSettings, build_trunk
from dal_auto.methods.self_trained import SelfTrainedSettings
from dal_auto.methods.slices import smoothed
from dal_auto.networks.backbone import LITE2, VGG, FeatureTrunk, PretrainedBackbone
from dal_auto.networks.precision import at_least_single
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import paper

#: Convolutions of the clone before each pool; the last of them has the source's width, but in the
#: first pool, which is not compared.
_DEPTHS = (2, 2, 3, 3, 3)
_COMPARED = 4


class MKDSettings(TrunkSettings):
    """Hyper-parameters of MKD."""

    backbone: PretrainedBackbone = paper("vgg16", "the source, with pretrained features")
    self_trained: SelfTrainedSettings = SelfTrainedSettings(backbone="vgg16")
    slices_per_step: int = paper(64, "its batch", ge=1)
    input_side: int = paper(128, "slices of 128×128, for textures and retinas", ge=32)
    normalise: bool = paper(False, "to ImageNet's colours; off for all but natural pictures")
    clone_width: int = paper(16, "of its inner layers", ge=1)
    weight_square: float = paper(0.01, "λ, of the squared error; 0.5 for MVTec", ge=0)
    smoothing_sigma: float = paper(4.0, "of the map, in pixels of the resized slice", ge=0)


class Clone(nn.Module):
    """As deep as a VGG-16 and narrow, but at its pools; batch norm but before pools.

    Parameters
    ----------
    source_widths : channels of the source's maps of pools 2 to 5
    width : of the inner layers, and of the first pool
    rectified : whether the source's maps are never negative: a ReLU stands before each pool
    """

    def __init__(self, source_widths: Sequence[int], width: int, rectified: bool = True) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        before = 3
        for depth, wanted in zip(_DEPTHS, (width, *source_widths), strict=True):
            layers: list[nn.Module] = []
            for place in range(depth):
                last = place == depth - 1
                after = wanted if last else width
                convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
                nn.init.xavier_uniform_(convolution.weight)
                layers.append(convolution)
                layers += [] if last else [nn.BatchNorm2d(after)]
                layers += [nn.ReLU()] if rectified or not last else []
                before = after
            self.parts.append(nn.Sequential(*layers, nn.MaxPool2d(2)))

    def forward(self, colours: Tensor) -> list[Tensor]:
        """(n, 3, h, w) → what pools 2 to 5 give."""
        found = [colours]
        for part in self.parts:
            found.append(part(found[-1]))
        return found[2:]


class MKD(FeatureMethod):
    """Knowledge distillation at several depths of a VGG."""

    name = "MKD"
    Settings = MKDSettings
    settings: MKDSettings
    own_training = MappingProxyType({"learning_rate": (1e-3, "the published code")})
    network: Clone

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        widths = self.trunk.widths[-_COMPARED:]
        self.network = Clone(widths, self.settings.clone_width, self.trunk.rectified)

    def _build_trunk(self) -> FeatureTrunk:
        s = self.settings
        by_extra = self.variant == LITE2
        # EfficientNet-Lite2's first map has the grid of the second pool.
        trunk = build_trunk(s, s.backbone, _COMPARED if by_extra else len(_DEPTHS))
        if not isinstance(trunk, VGG) and not by_extra:
            rule = f"it must be a VGG{f' or {LITE2}' if self.trunk_is_given else ''}"
            raise PlansError(self.backbone_key, trunk.backbone, rule)
        if self.settings.input_side % trunk.stride:
            rule = f"it must be a multiple of {trunk.stride}"
            raise PlansError("method.settings.input_side", self.settings.input_side, rule)
        trunk.normalise = self.settings.normalise
        return trunk

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> MKDSettings:
        if not configuration.is_small:
            return MKDSettings()
        own = SelfTrainedSettings(backbone="vgg16", stem_width=16, slices=1000, steps=300)
        return MKDSettings(
            self_trained=own, input_side=64, clone_width=4, slices_per_step=16, smoothing_sigma=1.0
        )

    @property
    def side(self) -> int:
        return self.settings.input_side

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        colours = self.trunk.colours(slices)
        with torch.no_grad():
            source = self._source(colours)
        apart = per_slice(source, self.network(colours), self.settings.weight_square)
        return {"loss": apart.mean()}

    def _source(self, colours: Tensor) -> list[Tensor]:
        return self.trunk.stages_of(colours)[-_COMPARED:]

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        sigma = self.settings.smoothing_sigma
        with torch.enable_grad():
            colours = self.trunk.colours(slices).detach().requires_grad_()
            source, clone = self._source(colours), self.network(colours)
            # As published: pools 3 to 5 say where. Slices know nothing of each other.
            apart = per_slice(source[1:], clone[1:], self.settings.weight_square).sum()
            (gradient,) = torch.autograd.grad(apart, colours)
        # The loss is a mean over the slice: times its pixels, or half precision would lose the map.
        steep = gradient.abs().sum(dim=1, keepdim=True) * slices[0].numel()
        feature = torch.zeros_like(slices)
        for one, other in zip(source, clone, strict=True):
            angle = 1 - F.cosine_similarity(one.detach(), other.detach())[:, None]
            feature += F.interpolate(angle, slices.shape[2:], mode="bilinear")
        prefix = f"{self.variant} " if self.variant else ""
        return None, {
            self.variant: smoothed(steep, sigma),
            f"{prefix}feature": smoothed(feature, sigma),
        }


def per_slice(source: Sequence[Tensor], clone: Sequence[Tensor], weight_square: float) -> Tensor:
    """Σ over layers of 1 − cos of the flattened maps + λ · mean squared difference: (n,).

    In float32 at least: both are to become equal.
    """
    total = source[0].new_zeros(len(source[0]))
    for one, other in zip(source, clone, strict=True):
        a, b = at_least_single(one.flatten(1)), at_least_single(other.flatten(1))
        total = total + 1 - F.cosine_similarity(a, b)
        total = total + weight_square * (a - b).square().mean(dim=1)
    return total
