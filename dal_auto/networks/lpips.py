"""LPIPS with SqueezeNet 1.1: how different two slices look, at each of their pixels.

Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a
perceptual metric", CVPR 2018; Iandola et al., "SqueezeNet", 2016. Layers are named as those of
torchvision (``features``) and of the authors' package lpips (``lin0`` to ``lin6``), whose weights
are wanted in one file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.networks.backbone import FeatureTrunk

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
#: Layers after which features are compared.
_COMPARED = (1, 4, 7, 9, 10, 11, 12)
_SMALL = 1e-10


class Fire(nn.Module):
    """Squeeze by 1×1, expand by 1×1 and 3×3."""

    def __init__(self, before: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze(features))
        return F.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class LPIPS(FeatureTrunk):
    """Features of seven depths, and the weight of each channel."""

    def __init__(self) -> None:
        name = "LPIPS (SqueezeNet 1.1's features.* and the package lpips's lin0.* to lin6.*)"
        super().__init__(name, len(_COMPARED))
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), _pool(),
            Fire(64, 16, 64), Fire(128, 16, 64), _pool(),
            Fire(128, 32, 128), Fire(256, 32, 128), _pool(),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        self.widths = (64, 128, 256, 384, 384, 512, 512)
        for number, width in enumerate(self.widths):
            head = nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False))
            self.add_module(f"lin{number}", nn.ModuleDict({"model": head}))
        self.eval().requires_grad_(False)

    @property
    def stride(self) -> int:
        return 16

    def colours(self, slices: Tensor) -> Tensor:
        shift, scale = (slices.new_tensor(one)[:, None, None] for one in (_SHIFT, _SCALE))
        return (2 * slices - 1 - shift) / scale

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        """Features of each depth, of length 1 along channels."""
        stages, x = [], colours
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _COMPARED:
                length = x.square().sum(dim=1, keepdim=True).sqrt()
                stages.append(x / (length + _SMALL))
        return stages

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """(n, 1, h, w) each, in [0, 1] → how different they look, ≥ 0: (n, 1, h, w)."""
        total = torch.zeros_like(first)
        pairs = zip(self(first), self(second), strict=True)
        for number, (one, other) in enumerate(pairs):
            weigh = self.get_submodule(f"lin{number}.model")
            apart = weigh((one - other).square())
            total = total + F.interpolate(apart, first.shape[2:], mode="bilinear")
        return total
