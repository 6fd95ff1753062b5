"""Edge-to-image restoration: R_A and R_E to codes, R_D with adaptation layers back (paper §3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.networks.blocks import ConvBlock, UNet
from dal_auto.networks.instance_norm import modulated_norm
from dal_auto.networks.region import Region, region_of


class CodeEncoder(nn.Module):
    """R_A (from the anatomical image) and R_E (from its edges): one architecture, two networks.

    Strided convolutions bring the input to the code's grid; a small U-Net on that grid sees enough
    of the surroundings to restore what is missing.

    Parameters
    ----------
    channels_in : channels of the input: 1, and the atlas's tissue fractions where it is given them
    channels : channels of the code
    downsamplings : the code is 2**downsamplings times coarser than the input
    context_widths : widths of the U-Net on the code's grid
    """

    def __init__(
        self, channels_in: int, channels: int, downsamplings: int, context_widths: tuple[int, ...]
    ) -> None:
        super().__init__()
        stem = [ConvBlock(channels_in, channels)]
        stem += [ConvBlock(channels, channels, stride=2) for _ in range(downsamplings)]
        self.stem = nn.ModuleList(stem)
        self.context = UNet(channels, context_widths)
        self.code = nn.Conv3d(context_widths[0], channels, 1)

    def forward(self, volume: Tensor, brain: Tensor | None = None) -> Tensor:
        """(N, channels_in, x, y, z) → code (N, channels, x/s, y/s, z/s).

        Parameters
        ----------
        brain : (N, 1, x, y, z), 0 or 1: normalise over the brain alone
        """
        region = region_of(brain)
        for block in self.stem:
            volume = block(volume, region)
        return self.code(self.context(volume, region))


class AdaptationLayer(nn.Module):
    """LAL (Eq. 12): (1 + FC_γ(M)) · (F − μ(F)) / σ(F) + FC_β(M), per channel.

    Parameters
    ----------
    vector_length : length of the modality vector M; 0 for none, which leaves the normalisation
    channels : channels of the features F
    """

    def __init__(self, vector_length: int, channels: int) -> None:
        super().__init__()
        if vector_length > 0:
            self.gamma = nn.Linear(vector_length, channels)
            self.beta = nn.Linear(vector_length, channels)

    def forward(
        self, features: Tensor, modality: Tensor | None, region: Region | None = None
    ) -> Tensor:
        """Features (N, c, x, y, z) and vectors (N, m) → features of the same shape."""
        if modality is None:
            plain = features.new_ones(features.shape[:2])
            return modulated_norm(features, plain, torch.zeros_like(plain), region)
        return modulated_norm(features, 1 + self.gamma(modality), self.beta(modality), region)


class RepresentationCombiner(nn.Module):
    """R_D: from a code and a modality vector to an image; an adaptation layer after the code and
    after each layer (§3.3.2).

    Parameters
    ----------
    channels : channels of the code and of every layer
    upsamplings : as many as the encoders downsample
    vector_length : length of the modality vector; 0 for a combiner that is given none
    """

    def __init__(self, channels: int, upsamplings: int, vector_length: int) -> None:
        super().__init__()
        layers = upsamplings + 2
        self.upsamplings = upsamplings
        self.adapt = nn.ModuleList(
            AdaptationLayer(vector_length, channels) for _ in range(layers + 1)
        )
        self.convolve = nn.ModuleList(
            nn.Conv3d(channels, channels, 3, padding=1) for _ in range(layers)
        )
        self.output = nn.Conv3d(channels, 1, 1)

    def forward(self, code: Tensor, modality: Tensor | None, brain: Tensor | None = None) -> Tensor:
        """Code (N, c, x/s, y/s, z/s) and M (N, m) → image (N, 1, x, y, z), unbounded.

        Parameters
        ----------
        brain : (N, 1, x, y, z), 0 or 1: normalise over the brain alone
        """
        region = region_of(brain)
        features = self.adapt[0](code, modality, region)
        for level, (convolve, adapt) in enumerate(
            zip(self.convolve, self.adapt[1:], strict=True)  # type: ignore[arg-type]
        ):
            if 0 < level <= self.upsamplings:
                features = F.interpolate(features, scale_factor=2.0)
            features = F.leaky_relu(adapt(convolve(features), modality, region), 0.01, inplace=True)
        return self.output(features)
