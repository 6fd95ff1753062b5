"""RD4AD: a student that rebuilds a teacher's features from its deepest ones, for healthy slices.

Deng, Li, "Anomaly detection via reverse distillation from one-class embedding", CVPR 2022,
9737–9746. Sizes and numbers follow the published code, hq-deng/RD4AD (MIT; facts only).

With ``backbone=efficientnet-lite2`` the student's blocks are those of ResNet-18, at the teacher's
widths. The teacher's features have negative values, so a 1×1 convolution ends each student's stage.

Deviations: slices keep their size (theirs are squares of 256); the bottleneck's 1×1 convolution,
which the published forward pass never uses, is left out. ``loss=flattened`` compares whole maps, as
the code does and its results need; the paper prints ``positional``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.features import FeatureMethod, TrunkSettings
from dal_auto.methods.self_trained import SelfTrainedSettings
from dal_auto.methods.slices import smoothed
from dal_auto.networks.backbone import (
    ARCHITECTURES,
    LITE2,
    Architecture,
    Block,
    PretrainedBackbone,
)
from dal_auto.networks.precision import at_least_single
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import paper


class RD4ADSettings(TrunkSettings):
    """Hyper-parameters of RD4AD."""

    backbone: PretrainedBackbone = paper("wide_resnet50_2", "the teacher, with pretrained features")
    slices_per_step: int = paper(16, "its batch", ge=1)
    loss: Literal["flattened", "positional"] = paper("flattened", "the code's; see the module")
    smoothing_sigma: float = paper(4.0, "of the map, in pixels of the slice", ge=0)


class Bottleneck(nn.Module):
    """One-class embedding: the teacher's three maps, brought to the coarsest and halved again."""

    def __init__(self, kind: Architecture, widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.twice = nn.Sequential(*_halving(fine, middle), *_halving(middle, coarse))
        self.once = nn.Sequential(*_halving(middle, coarse))
        self.stage = _stage(kind, 3 * coarse, 2 * coarse, kind.depths[3], stride=2)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        fine, middle, coarse = maps
        together = torch.cat([self.twice(fine), self.once(middle), coarse], dim=1)
        code: Tensor = self.stage(together)
        return code


class Student(nn.Module):
    """The embedding, and a mirrored ResNet that doubles the grid at the start of each stage.

    Parameters
    ----------
    kind : how blocks are built
    widths : channels of the teacher's three maps, finest first
    rectified : whether the teacher's maps are never negative, as a block's are
    """

    def __init__(self, kind: Architecture, widths: Sequence[int], rectified: bool = True) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(kind, widths)
        before, stages, ends = 2 * widths[-1], [], []
        for depth, width in zip(kind.depths[:3], reversed(widths), strict=True):
            stages.append(_stage(kind, before, width, depth, stride=-2))
            ends.append(nn.Identity() if rectified else nn.Conv2d(width, width, 1))
            before = width
        self.stages, self.ends = nn.ModuleList(stages), nn.ModuleList(ends)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The teacher's maps, finest first → the student's, in the same order."""
        found, code = [], self.bottleneck(maps)
        for stage, end in zip(self.stages, self.ends, strict=True):
            code = stage(code)
            found.append(end(code))
        return found[::-1]


def _halving(before: int, width: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def _stage(kind: Architecture, before: int, after: int, depth: int, stride: int) -> nn.Sequential:
    width = after // kind.expansion
    blocks = [Block(kind, before, width, stride)]
    blocks += [Block(kind, after, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


class RD4AD(FeatureMethod):
    """Reverse distillation."""

    name = "RD4AD"
    Settings = RD4ADSettings
    settings: RD4ADSettings
    own_training = MappingProxyType(
        {"learning_rate": (5e-3, "the published code"), "beta1": (0.5, "the published code")}
    )
    network: Student

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        teacher = self.trunk.backbone
        kind = ARCHITECTURES.get("resnet18" if teacher == LITE2 else teacher)
        if kind is None:
            known = [*ARCHITECTURES, *([LITE2] if self.trunk_is_given else [])]
            rule = f"it must be one of {', '.join(known)}"
            raise PlansError(self.backbone_key, teacher, rule)
        self.multiple = 2 * self.trunk.stride
        self.network = Student(kind, self.trunk.widths, self.trunk.rectified)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> RD4ADSettings:
        if not configuration.is_small:
            return RD4ADSettings()
        own = SelfTrainedSettings(stem_width=16, slices=1000, steps=300)
        return RD4ADSettings(self_trained=own, smoothing_sigma=1.0)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        teacher = self.features(slices)
        student = self.network(teacher)
        whole = self.settings.loss == "flattened"
        losses = [distance(t, s, whole).mean() for t, s in zip(teacher, student, strict=True)]
        return {"loss": torch.stack(losses).sum()}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        teacher = self.features(slices)
        score = torch.zeros_like(slices)
        for t, s in zip(teacher, self.network(teacher), strict=True):
            score += F.interpolate(
                distance(t, s, whole=False), slices.shape[2:], mode="bilinear", align_corners=True
            )
        return None, {self.variant: smoothed(score, self.settings.smoothing_sigma)}


def distance(teacher: Tensor, student: Tensor, whole: bool) -> Tensor:
    """1 − cos of two maps (n, C, h, w), in float32 at least: both are to become equal.

    Parameters
    ----------
    whole : of each map as one vector → (n,); else of each position's → (n, 1, h, w)
    """
    teacher, student = at_least_single(teacher), at_least_single(student)
    if whole:
        return 1 - F.cosine_similarity(teacher.flatten(1), student.flatten(1))
    return 1 - F.cosine_similarity(teacher, student)[:, None]
