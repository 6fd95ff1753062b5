"""The blocks that the networks are made of. Tensors are (N, C, x, y, z)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.networks.instance_norm import InstanceNorm
from dal_auto.networks.region import Region


class ConvBlock(nn.Sequential):
    """Convolution 3³, instance normalisation, leaky ReLU: the unit of nnU-Net's U-Nets."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, 3, stride, padding=1),
            InstanceNorm(channels_out),
            nn.LeakyReLU(0.01, inplace=True),
        )

    def forward(self, x: Tensor, region: Region | None = None) -> Tensor:
        """(N, channels_in, x, y, z) → (N, channels_out, …), normalised over the region."""
        convolve, normalise, activate = self
        return activate(normalise(convolve(x), region))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """A 3-D U-Net (Çiçek et al. 2016), strided convolutions down and nearest neighbour up.

    Parameters
    ----------
    channels_in : input channels
    widths : channels at each resolution, from full to coarsest; any input size is accepted
    """

    def __init__(self, channels_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        below = (channels_in, *widths[:-1])
        self.down = nn.ModuleList(
            nn.ModuleList([ConvBlock(a, b, stride=1 if level == 0 else 2), ConvBlock(b, b)])
            for level, (a, b) in enumerate(zip(below, widths, strict=True))
        )
        self.up = nn.ModuleList(
            ConvBlock(fine + coarse, fine)
            for fine, coarse in zip(widths[:-1][::-1], widths[1:][::-1], strict=True)
        )

    def forward(self, x: Tensor, region: Region | None = None) -> Tensor:
        """(N, channels_in, x, y, z) → (N, widths[0], x, y, z)."""
        skips = []
        for level in self.down:
            for block in level:  # type: ignore[attr-defined]
                x = block(x, region)
            skips.append(x)
        skips.pop()
        for merge in self.up:
            skip = skips.pop()
            joined = torch.cat([skip, F.interpolate(x, size=skip.shape[2:])], dim=1)
            x = merge(joined, region)
        return x
