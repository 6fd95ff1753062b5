"""AMCons: a VAE whose attention must spread over a healthy brain; where it gathers is anomalous.

Silva-Rodríguez, Naranjo, Dolz, "Constrained unsupervised anomaly segmentation", Medical Image
Analysis 80, 2022, 102526. Sizes and numbers follow the published code,
jusiro/constrained_anomaly_segmentation (MIT; facts only).

Deviations: all brain slices train (theirs: ten in the middle of each volume); each slice has its
own mask (theirs: the union of the batch's); the entropy acts from the first step on (theirs: from
the second epoch). The map is high where early features are, which follows brightness: on T1, where
lesions are dark, it cannot be expected to find them. Its first form, with a size constraint on
Grad-CAM (BMVC 2021), is not here.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.networks.backbone import ARCHITECTURES, Block
from dal_auto.networks.precision import at_least_single
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import paper

_KIND = ARCHITECTURES["resnet18"]
#: Pixels of a slice for each position of the last features.
_STRIDE = 16


class AMConsSettings(SliceSettings):
    """Hyper-parameters of AMCons."""

    slices_per_step: int = paper(8, "its batch", ge=1)
    input_side: int = paper(224, "slices of 224×224", ge=_STRIDE)
    width: int = paper(64, "of the first layer; ResNet-18's, untrained", ge=4)
    code_length: int = paper(32, "z", ge=1)
    erosion: int = paper(6, "edge in pixels of the square that the brain mask is eroded with", ge=1)
    weight_kl: float = paper(10.0, "of the sum over the code", ge=0)
    weight_entropy: float = paper(0.1, "of the attention's entropy", ge=0)


class Doubled(nn.Module):
    """A basic residual block at twice the resolution, nearest neighbour."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.block = Block(_KIND, before, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.block(F.interpolate(features, scale_factor=2))
        return found


class AMConsNetwork(nn.Module):
    """The encoder of a ResNet-18 without pooling, two dense heads, and residual blocks back."""

    def __init__(self, side: int, width: int, code_length: int) -> None:
        super().__init__()
        widths = [width * factor for factor in (1, 2, 4, 8)]
        self.stem = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.first = _stage(width, width, 1)
        self.rest = nn.Sequential(*(_stage(before, after, 2) for before, after in pairwise(widths)))
        grid = side // _STRIDE
        flat = widths[-1] * grid**2
        self.mean, self.log_variance = nn.Linear(flat, code_length), nn.Linear(flat, code_length)
        self.shape = (4 * width, grid, grid)
        self.widen = nn.Linear(code_length, 4 * width * grid**2)
        layers: list[nn.Module] = []
        before = 4 * width
        for after in (2 * width, width, width // 2, width // 4):
            layers += [Doubled(before, after), Block(_KIND, after, after, 1)]
            before = after
        self.decoder = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def attention(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the first stage, and their mean over channels at the slices' size, ≥ 0."""
        features = self.first(self.stem(slices))
        activation = features.mean(dim=1, keepdim=True)
        return features, F.interpolate(activation, slices.shape[2:], mode="bilinear")

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(n, 1, h, w) → logits of slices, μ, log σ², attention (n, 1, h, w)."""
        features, activation = self.attention(slices)
        code = self.rest(features).flatten(1)
        mean, log_variance = self.mean(code), self.log_variance(code)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logits = self.decoder(self.widen(drawn).unflatten(1, self.shape))
        return logits, mean, log_variance, activation


def _stage(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(_KIND, before, width, stride), Block(_KIND, width, width, 1))


class AMCons(SliceMethod):
    """Constrained attention of a VAE."""

    name = "AMCons"
    Settings = AMConsSettings
    settings: AMConsSettings
    network: AMConsNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        if s.input_side % _STRIDE:
            rule = f"it must be a multiple of {_STRIDE}"
            raise PlansError("method.settings.input_side", s.input_side, rule)
        self.network = AMConsNetwork(s.input_side, s.width, s.code_length)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> AMConsSettings:
        if not configuration.is_small:
            return AMConsSettings()
        return AMConsSettings(
            input_side=64, width=16, code_length=16, erosion=2, slices_per_step=16
        )

    @property
    def side(self) -> int:
        return self.settings.input_side

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s, count = self.settings, len(slices)
        logits, mean, log_variance, activation = self.network(slices)
        recon = F.binary_cross_entropy_with_logits(logits, slices, reduction="sum") / count
        mean, log_variance = at_least_single(mean), at_least_single(log_variance)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum() / count
        spread = entropy(activation, eroded(brain, s.erosion)).mean()
        loss = recon + s.weight_kl * divergence - s.weight_entropy * spread
        return {"loss": loss, "recon": recon, "kl": divergence, "entropy": spread}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        activation = self.network.attention(slices)[1]
        return None, {"": activation * eroded(brain, self.settings.erosion)}


def eroded(brain: Tensor, edge: int) -> Tensor:
    """Brain (n, 1, h, w), 0 to 1, eroded with a square of `edge` pixels: 0 or 1."""
    before, after = edge // 2, (edge - 1) // 2
    outside = F.pad((brain <= 0.5).float(), (before, after, before, after), value=1.0)
    return 1 - F.max_pool2d(outside, edge, stride=1)


def entropy(activation: Tensor, mask: Tensor) -> Tensor:
    """−Σ p log p of the softmax of `activation` within `mask`, for each slice: (n,).

    0 where the mask is empty.
    """
    inside = mask.flatten(1) > 0
    # Finite: the gradient of −∞ times 0 would be no number.
    scores = activation.flatten(1).masked_fill(~inside, -1e4)
    log_share = scores.float().log_softmax(dim=1)
    return -(log_share.exp() * log_share * inside).sum(dim=1)
