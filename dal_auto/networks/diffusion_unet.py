"""MONAI's U-Net of diffusion models, which is told a moment: an extra that may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from dal_auto.errors import MissingDependency


def diffusion_unet(
    method: str, widths: Sequence[int], attention: Sequence[bool], **settings: Any
) -> nn.Module:
    """Slices (n, 1, h, w) and moments (n,) → slices of the same size.

    Parameters
    ----------
    method : who wants it, for the message
    widths : of its levels
    attention : whether a level has any
    settings : further ones of MONAI's

    Raises
    ------
    MissingDependency
        without MONAI
    """
    try:
        from monai.networks.nets import DiffusionModelUNet

        network: nn.Module = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=tuple(widths),
            attention_levels=tuple(attention),
            **settings,
        )
    except ImportError as error:
        remedy = f"{method}'s network is MONAI's: `pip install dal-auto[diffusion]`"
        raise MissingDependency("MONAI", remedy) from error
    return network
