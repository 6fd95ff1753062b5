"""EfficientAD: where a student differs from its teacher, or an autoencoder from the student.

Batzner, Heckler, König, "EfficientAD: Accurate visual anomaly detection at millisecond-level
latencies", WACV 2024, in its small form. The authors published no code; numbers were checked
against open-edge-platform/anomalib and nelson1425/EfficientAD (both Apache-2.0; facts only).

Deviations: no penalty on ImageNet's pictures, which are a download; slices are grey, so saturation
is not varied; healthy quantiles are of brain only; scores lack the constant that would make some of
them negative; batches are larger than 1. Without the teacher's file, ``features=self-trained``
distils one from features of the cohort, and ``backbone=efficientnet-lite2`` from ImageNet's by
EfficientNet-Lite2, both on the cohort's slices: other methods, and called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.efficientad.network import (
    MARGIN,
    TEACHER,
    EfficientADNetwork,
    PatchDescriptor,
)
from dal_auto.methods.features import (
    FeatureMethod,
    FeatureSliceSettings,
    build_trunk,
    load_pretrained,
    require_pretrained,
)
from dal_auto.methods.method import Batch
from dal_auto.methods.patchcore import patch_vectors
from dal_auto.methods.self_trained import SelfTrainedSettings
from dal_auto.networks.backbone import LITE2
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

#: Drawn of each few slices' maps for the quantiles.
_SAMPLED = 20_000
_LEAST_DEVIATION = 1e-6
_PATCH = 3
#: Stages of the trunk that a teacher is distilled from.
_STAGES = 3


class EfficientADSettings(FeatureSliceSettings):
    """Hyper-parameters of EfficientAD."""

    backbone: Literal["pdn-small", "efficientnet-lite2"] = paper(
        "pdn-small", "of pretrained features: a teacher by file, or what one is distilled from"
    )
    slices_per_step: int = ours(8, "theirs: 1, for 70,000 steps", ge=1)
    input_side: int = paper(256, "slices of 256×256", ge=64)
    width: int = paper(128, "of the descriptor's first layer", ge=1)
    channels: int = paper(384, "of the teacher's map", ge=1)
    autoencoder_width: int = paper(64, "of its inner layers", ge=2)
    hard_share: float = paper(0.001, "of the differences that train the student", gt=0, le=1)
    jitter: float = paper(0.2, "brightness or contrast varied by up to it", ge=0, lt=1)
    quantiles: tuple[float, float] = paper((0.9, 0.995), "that healthy maps are scaled by")
    distillation_steps: int = ours(2000, "of a teacher that is distilled here; theirs 60,000", ge=0)


class EfficientAD(FeatureMethod):
    """Student, teacher and autoencoder."""

    name = "EfficientAD"
    Settings = EfficientADSettings
    settings: EfficientADSettings
    own_training = MappingProxyType({"weight_decay": (1e-5, "§4")})
    network: EfficientADNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        if s.input_side % 32:
            raise PlansError("method.settings.input_side", s.input_side, "a multiple of 32")
        if not 0 <= s.quantiles[0] < s.quantiles[1] <= 1:
            raise PlansError("method.settings.quantiles", s.quantiles, "they ascend, in [0, 1]")
        self.network = EfficientADNetwork(s.input_side, s.width, s.channels, s.autoencoder_width)

    def _build_trunk(self) -> PatchDescriptor:
        teacher = PatchDescriptor(self.settings.width, self.settings.channels)
        return teacher.eval().requires_grad_(False)

    @property
    def pretrained_backbone(self) -> str:
        return LITE2 if self.settings.backbone == LITE2 else TEACHER

    @property
    def trunk_is_given(self) -> bool:
        return super().trunk_is_given and self.settings.backbone != LITE2

    def require_files(self) -> None:
        super().require_files()
        if self.variant == LITE2:
            require_pretrained(self.settings, LITE2)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> EfficientADSettings:
        if not configuration.is_small:
            return EfficientADSettings()
        return EfficientADSettings(
            self_trained=SelfTrainedSettings(stem_width=16, slices=1000, steps=300),
            input_side=64, width=32, channels=64, autoencoder_width=16, distillation_steps=300,
        )  # fmt: skip

    @property
    def side(self) -> int:
        return self.settings.input_side

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Distil the teacher where there is none, and learn what it gives on average."""
        kept = self._kept_slices(batches)
        if not self.trunk_is_given:
            self._distil(kept)
        chunks = kept.split(self.settings.slices_per_step)
        mean, deviation = channel_statistics(self._given(some)[1] for some in chunks)
        self.network.mean.copy_(mean)
        self.network.deviation.copy_(deviation)

    def _given(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Kept slices as the networks take them, and the teacher's map of them."""
        slices = self._sized(kept[:, :1].to(self.network.mean.device).float())
        return slices, self.features(slices)[0]

    def _distil(self, kept: Tensor) -> None:
        """Teach the descriptor what ImageNet's trunk, or one of the cohort that is trained first,
        says of each patch, standardised."""
        own, device = self.settings.self_trained, self.network.mean.device
        source = build_trunk(self.settings, LITE2, _STAGES).to(device)
        if self.variant == LITE2:
            load_pretrained(source, self.settings, LITE2)
        else:
            self._train(source, kept)

        @torch.no_grad()
        def described(slices: Tensor) -> Tensor:
            vectors = patch_vectors(source(slices)[1:], _PATCH, self.settings.channels)
            inner = F.interpolate(vectors.permute(0, 3, 1, 2), self.side // 4, mode="bilinear")
            return inner[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]

        chunks = kept.split(own.slices_per_step)
        mean, deviation = channel_statistics(described(self._given(some)[0]) for some in chunks)
        teacher = self.trunk.requires_grad_(True)
        optimiser = torch.optim.Adam(teacher.parameters(), lr=1e-4, weight_decay=1e-5)
        for _ in range(self.settings.distillation_steps):
            some = kept[torch.randint(len(kept), (own.slices_per_step,))]
            slices = self._sized(some[:, :1].to(device).float())
            wanted = (described(slices) - _column(mean)) / _column(deviation)
            loss = F.mse_loss(teacher(slices)[0], wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        teacher.requires_grad_(False)

    def _differences(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Squared differences (n, C, h', w'): teacher and student, autoencoder and student."""
        colours, channels = self.trunk.colours(slices), self.settings.channels
        student = self.network.student.stages_of(colours)[0]
        rebuilt = self.network.autoencoder(colours)
        teacher = self._teacher(slices)
        return (
            (teacher - student[:, :channels]).square(),
            (rebuilt - student[:, channels:]).square(),
        )

    def _teacher(self, slices: Tensor) -> Tensor:
        given = self.features(slices)[0]
        return (given - _column(self.network.mean)) / _column(self.network.deviation)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s = self.settings
        student, _ = self._differences(slices)
        hard = hardest(student, s.hard_share).mean()
        varied = jittered(slices, s.jitter)
        rebuilt = self.network.autoencoder(self.trunk.colours(varied))
        recon = F.mse_loss(rebuilt, self._teacher(varied))
        followed = self.network.student(varied)[0][:, s.channels :]
        follow = F.mse_loss(followed, rebuilt)
        loss = hard + recon + follow
        return {"loss": loss, "hard": hard, "recon": recon, "follow": follow}

    def maps(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared differences at the slices' size: (n, 1, h, w) each."""
        first, second = (
            F.interpolate(
                F.pad(square.mean(dim=1, keepdim=True), (MARGIN,) * 4),
                slices.shape[2:],
                mode="bilinear",
            )
            for square in self._differences(slices)
        )
        return first, second

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """The quantiles of both maps in healthy brains."""
        generator, found = torch.Generator().manual_seed(0), []
        for slices, brain in self.healthy_slices(batches, every_nth=4):
            values = torch.stack(self.maps(slices), dim=-1)[brain > 0.5].float().cpu()
            found.append(values[torch.randperm(len(values), generator=generator)[:_SAMPLED]])
        if found:
            levels = torch.tensor(self.settings.quantiles)
            drawn = torch.cat(found)
            some = drawn[torch.randperm(len(drawn), generator=generator)[: 50 * _SAMPLED]]
            self.network.quantiles.copy_(torch.quantile(some, levels, dim=0).T)

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        """0.1·m/(q_b − q_a) of both maps: theirs less a constant that would make some negative."""
        low, high = self.network.quantiles.T
        scale = 0.1 / (high - low).clamp(min=_LEAST_DEVIATION)
        first, second = self.maps(slices)
        return None, {self.variant: (scale[0] * first + scale[1] * second) / 2}


def hardest(square: Tensor, share: float) -> Tensor:
    """The largest share of the values."""
    values = square.flatten()
    return values.topk(max(1, round(share * len(values)))).values


def jittered(slices: Tensor, most: float) -> Tensor:
    """Brightness or contrast of each slice times a number from 1 − most to 1 + most."""
    shape, device = (len(slices), 1, 1, 1), slices.device
    factor = 1 + most * (2 * torch.rand(shape, device=device) - 1)
    mean = slices.mean(dim=(2, 3), keepdim=True) * (torch.rand(shape, device=device) < 0.5)
    return (mean + factor * (slices - mean)).clamp(0, 1)


def channel_statistics(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of maps (n, C, h, w), one part after the other:
    those of all slices together would not fit into a GPU."""
    number, total, squares = 0, torch.zeros(()), torch.zeros(())
    for part in maps:
        values = part.double().movedim(1, 0).flatten(1)
        number += values.shape[1]
        total = total.to(values) + values.sum(1)
        squares = squares.to(values) + values.square().sum(1)
    mean = total / number
    deviation = (squares / number - mean.square()).clamp(min=0).sqrt()
    return mean.float(), deviation.float().clamp(min=_LEAST_DEVIATION)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
