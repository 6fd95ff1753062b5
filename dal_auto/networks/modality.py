"""Modality extractor E_M: an image to a vector without a place (paper §3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from dal_auto.case import Shape


class ModalityExtractor(nn.Module):
    """E_M: strided convolutions, then pooling to one size for all inputs, flattened.

    No normalisation layers: they would remove the intensities that the vector is to carry.

    Parameters
    ----------
    widths : channels after each stride-2 convolution; the last is c = 256 in the paper
    pooled_shape : d × h × w; the vector has length c·d·h·w
    """

    def __init__(self, widths: tuple[int, ...], pooled_shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out in zip((1, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv3d(channels_in, channels_out, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.encode = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(pooled_shape))
        x, y, z = pooled_shape
        self.length = widths[-1] * x * y * z

    def forward(self, halved_image: Tensor) -> Tensor:
        """x̄ (N, 1, x/2, y/2, z/2) → M (N, length)."""
        return self.encode(halved_image).flatten(1)
