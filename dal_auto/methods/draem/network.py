"""The two networks of DRAEM, as its published code has them (VitjanZ/DRAEM, MIT)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _layer(before: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]


def _two(before: int, width: int, after: int | None = None) -> nn.Sequential:
    return nn.Sequential(*_layer(before, width), *_layer(width, after or width))


def _doubled(before: int, width: int) -> nn.Sequential:
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(up, *_layer(before, width))


class Reconstructor(nn.Sequential):
    """Slices → slices, without skips: 5 levels of 1, 2, 4, 8 and 8 times `width`."""

    def __init__(self, width: int) -> None:
        down = [width * factor for factor in (1, 2, 4, 8, 8)]
        layers: list[nn.Module] = [_two(1, down[0])]
        for before, after in pairwise(down):
            layers += [nn.MaxPool2d(2), _two(before, after)]
        before = down[-1]
        for after in (width * factor for factor in (4, 2, 1, 1)):
            layers += [_doubled(before, before), _two(before, before, after)]
            before = after
        super().__init__(*layers, nn.Conv2d(before, 1, 3, padding=1))


class Segmenter(nn.Module):
    """A U-Net of 6 levels of 1, 2, 4, 8, 8 and 8 times `width`: two slices → two logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        down = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.down = nn.ModuleList(
            _two(before, after) for before, after in zip((2, *down), down, strict=False)
        )
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        before = down[-1]
        for skip, factor in zip(down[-2::-1], (8, 4, 2, 1, 1), strict=True):
            after = width * factor
            self.up.append(_doubled(before, after))
            self.merge.append(_two(after + skip, after))
            before = after
        self.last = nn.Conv2d(before, 2, 3, padding=1)

    def forward(self, reconstructed: Tensor, slices: Tensor) -> Tensor:
        """(n, 1, h, w) each → logits (n, 2, h, w): healthy, anomalous."""
        seen = [self.down[0](torch.cat([reconstructed, slices], dim=1))]
        for level in self.down[1:]:
            seen.append(level(F.max_pool2d(seen[-1], 2)))
        x = seen.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), seen.pop()], dim=1))
        logits: Tensor = self.last(x)
        return logits


class DRAEMNetwork(nn.Module):
    """Both, with the published initial weights: N(0, 0.02²), batch norms N(1, 0.02²)."""

    def __init__(self, reconstructor_width: int, segmenter_width: int) -> None:
        super().__init__()
        self.reconstructor = Reconstructor(reconstructor_width)
        self.segmenter = Segmenter(segmenter_width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, h, w) → reconstructed slices, and logits (n, 2, h, w)."""
        reconstructed = self.reconstructor(slices)
        return reconstructed, self.segmenter(reconstructed, slices)
