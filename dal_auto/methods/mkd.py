"""MKD: a small clone learns what a VGG says of healthy slices; where they part is anomalous.

Salehi, Sadjadi, Baselizadeh, Rohban, Rabiee, "Multiresolution knowledge distillation for anomaly
detection", CVPR 2021. Sizes and numbers follow the published code,
rohban-lab/Knowledge_Distillation_AD (no licence; read for facts only).

Deviations: the gradient's magnitude is kept in one unit for all slices (theirs is clipped and
scaled for each); neither guided backpropagation nor SmoothGrad; no dilation of thresholded maps.
The variant "feature", a distance at each position without a backward pass, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.features import FeatureMethod, TrunkSettings
from dal_auto.methods.self_trained import SelfTrainedSettings
from dal_auto.methods.slices import smoothed
from dal_auto.networks.backbone import VGG, Backbone, FeatureTrunk
from dal_auto.networks.precision import at_least_single
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import paper

#: Convolutions of the clone before each pool; the last of them has the source's width.
_DEPTHS = (2, 2, 3, 3, 3)


class MKDSettings(TrunkSettings):
    """Hyper-parameters of MKD."""

    backbone: Backbone = paper("vgg16", "the source, with pretrained features")
    self_trained: SelfTrainedSettings = SelfTrainedSettings(backbone="vgg16")
    slices_per_step: int = paper(64, "its batch", ge=1)
    input_side: int = paper(128, "slices of 128×128, for textures and retinas", ge=32)
    normalise: bool = paper(False, "to ImageNet's colours; off for all but natural pictures")
    clone_width: int = paper(16, "of its inner layers", ge=1)
    weight_square: float = paper(0.01, "λ, of the squared error; 0.5 for MVTec", ge=0)
    smoothing_sigma: float = paper(4.0, "of the map, in pixels of the resized slice", ge=0)


class Clone(nn.Module):
    """As deep as a VGG-16 and narrow, but at its pools; batch norm but before pools."""

    def __init__(self, source_widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        before = 3
        for number, (depth, wanted) in enumerate(zip(_DEPTHS, source_widths, strict=True)):
            layers: list[nn.Module] = []
            for place in range(depth):
                last = place == depth - 1
                after = wanted if last and number else width
                convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
                nn.init.xavier_uniform_(convolution.weight)
                layers.append(convolution)
                layers += [nn.ReLU()] if last else [nn.BatchNorm2d(after), nn.ReLU()]
                before = after
            self.parts.append(nn.Sequential(*layers, nn.MaxPool2d(2)))

    def forward(self, colours: Tensor) -> list[Tensor]:
        """(n, 3, h, w) → what each pool gives."""
        found = [colours]
        for part in self.parts:
            found.append(part(found[-1]))
        return found[1:]


class MKD(FeatureMethod):
    """Knowledge distillation at several depths of a VGG."""

    name = "MKD"
    Settings = MKDSettings
    settings: MKDSettings
    network: Clone
    stages = len(_DEPTHS)

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.network = Clone(self.trunk.widths, self.settings.clone_width)

    def _build_trunk(self) -> FeatureTrunk:
        trunk = super()._build_trunk()
        if not isinstance(trunk, VGG):
            where = "backbone" if not self.variant else "self_trained.backbone"
            raise PlansError(f"method.settings.{where}", trunk.backbone, "it must be a VGG")
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
            source = self.trunk.stages_of(colours)
        apart = per_slice(source[1:], self.network(colours)[1:], self.settings.weight_square)
        return {"loss": apart.mean()}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        sigma = self.settings.smoothing_sigma
        with torch.enable_grad():
            colours = self.trunk.colours(slices).detach().requires_grad_()
            source, clone = self.trunk.stages_of(colours), self.network(colours)
            # As published: pools 3 to 5 say where. Slices know nothing of each other.
            apart = per_slice(source[2:], clone[2:], self.settings.weight_square).sum()
            (gradient,) = torch.autograd.grad(apart, colours)
        # The loss is a mean over the slice: times its pixels, or half precision would lose the map.
        steep = gradient.abs().sum(dim=1, keepdim=True) * slices[0].numel()
        feature = torch.zeros_like(slices)
        for one, other in zip(source[1:], clone[1:], strict=True):
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
