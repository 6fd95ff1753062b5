"""Modality extractor E_M: an image to a vector without a place (paper §3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.case import Shape
from dal_auto.networks.region import Region

#: A cell of the pooled grid with less brain than this has its vector damped.
_LEAST_SHARE = 1e-3


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
        self.encode = nn.Sequential(*layers)
        self.pooled_shape = pooled_shape
        x, y, z = pooled_shape
        self.length = widths[-1] * x * y * z

    def forward(self, halved_image: Tensor, brain: Tensor | None = None) -> Tensor:
        """x̄ (N, 1, x/2, y/2, z/2) → M (N, length).

        Parameters
        ----------
        brain : (N, 1, x, y, z), 0 or 1: pool over the brain alone
        """
        features = self.encode(halved_image)
        if brain is None:
            return F.adaptive_avg_pool3d(features, self.pooled_shape).flatten(1)
        inside = Region(brain).at(features).to(features.dtype)
        total = F.adaptive_avg_pool3d(features * inside, self.pooled_shape)
        share = F.adaptive_avg_pool3d(inside, self.pooled_shape)
        return (total / share.clamp(min=_LEAST_SHARE)).flatten(1)
