"""UTRAD: a transformer restores features of healthy slices, and predicts how well it does.

Chen, You, Zhang, Xi, Le, "UTRAD: Anomaly detection and localization with U-Transformer", Neural
Networks 147, 2022, 53–62. Sizes and numbers follow the published code, gordon-chenmo/UTRAD (no
licence; read for facts only).

Deviations: position tables are trained (in theirs they stay as drawn); maps are not scaled by the
test set; the predicted error has a floor, a thousandth of its healthy median; no augmentation of
its own; batches are larger than 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods.features import FeatureMethod, TrunkSettings
from dal_auto.methods.method import Batch
from dal_auto.methods.self_trained import SelfTrainedSettings
from dal_auto.methods.utrad.network import GROUP, UTransformer
from dal_auto.networks.backbone import PretrainedBackbone
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper


class UTRADSettings(TrunkSettings):
    """Hyper-parameters of UTRAD."""

    backbone: PretrainedBackbone = paper("resnet18", "of pretrained features")
    slices_per_step: int = ours(8, "theirs: 2", ge=2)
    input_side: int = paper(256, "slices of 256×256: features of 64×64", ge=16)
    width: int = paper(512, "of the transformer", ge=8)
    heads: int = paper(8, "of its attention", ge=1)
    layers: int = paper(4, "of each block", ge=1)
    feed_forward: int = paper(2048, "width between", ge=1)
    narrow: int = paper(128, "channels that a skip lets through", ge=1)
    dropout: float = paper(0.1, "of the transformer", ge=0, lt=1)
    least_error: float = ours(1e-3, "floor of the predicted error, in its healthy medians", ge=0)


class UTRADNetwork(nn.Module):
    """The transformer, and the constant that calibration finds."""

    def __init__(self, channels: int, grid: int, settings: UTRADSettings) -> None:
        super().__init__()
        s = settings
        self.transformer = UTransformer(
            channels, grid, width=s.width, heads=s.heads, layers=s.layers,
            feed_forward=s.feed_forward, narrow=s.narrow, dropout=s.dropout,
        )  # fmt: skip
        self.register_buffer("median_error", torch.zeros(()))
        self.median_error: Tensor


class UTRAD(FeatureMethod):
    """Restoration of features by a U-shaped transformer."""

    name = "UTRAD"
    Settings = UTRADSettings
    settings: UTRADSettings
    own_training = MappingProxyType({"beta1": (0.5, "the published code")})
    network: UTRADNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        grid = s.input_side * 2 ** (self.stages - 1) // self.trunk.stride
        if grid < GROUP or grid & (grid - 1) or grid.bit_length() % 2 == 0:
            rule = f"its features have {grid} positions along an axis, which must be a power of 4"
            raise PlansError("method.settings.input_side", s.input_side, rule)
        if s.width % s.heads or s.width % 8:
            rule = f"it must be a multiple of heads ({s.heads}) and of 8"
            raise PlansError("method.settings.width", s.width, rule)
        self.network = UTRADNetwork(sum(self.trunk.widths), grid, s)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> UTRADSettings:
        if not configuration.is_small:
            return UTRADSettings()
        return UTRADSettings(
            self_trained=SelfTrainedSettings(stem_width=16, slices=1000, steps=300),
            input_side=64, width=64, heads=2, layers=1, feed_forward=128, narrow=16,
        )  # fmt: skip

    @property
    def side(self) -> int:
        return self.settings.input_side

    def pyramid(self, slices: Tensor) -> Tensor:
        """Features of all stages on the finest grid: (n, ΣC, h, w)."""
        maps = self.features(slices)
        grid = maps[0].shape[2:]
        return torch.cat([F.interpolate(features, grid) for features in maps], dim=1)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        features = self.pyramid(slices)
        restored, predicted = self.network.transformer(features)
        recon = F.mse_loss(restored, features)
        error = F.mse_loss(predicted, distance(restored.detach(), features))
        return {"loss": recon + error, "recon": recon, "predicted": error}

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """The median of the error that is predicted of healthy brain."""
        found = []
        for slices, brain in self.healthy_slices(batches, every_nth=4):
            predicted = self.network.transformer(self.pyramid(slices))[1].abs()
            found.append(predicted[F.adaptive_avg_pool2d(brain, predicted.shape[2:]) > 0.5])
        if found:
            self.network.median_error.copy_(torch.cat(found).float().median())

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        features = self.pyramid(slices)
        restored, predicted = self.network.transformer(features)
        floor = (self.settings.least_error * self.network.median_error).clamp(min=1e-6)
        score = distance(restored, features) / torch.maximum(predicted.abs(), floor)
        return None, {self.variant: at_all_scales(score)}


def distance(restored: Tensor, features: Tensor) -> Tensor:
    """‖f̂ − f‖₂ over channels: (n, 1, h, w)."""
    return torch.linalg.vector_norm(restored - features, dim=1, keepdim=True)


def at_all_scales(score: Tensor) -> Tensor:
    """Mean of the map averaged over squares of 1, 4, 16, … positions, bilinear in between."""
    scales, size = [score], score.shape[2:]
    while scales[-1].shape[2] >= GROUP:
        scales.append(F.avg_pool2d(scales[-1], GROUP))
    return torch.stack([F.interpolate(one, size, mode="bilinear") for one in scales]).mean(dim=0)
