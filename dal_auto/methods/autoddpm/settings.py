"""Hyper-parameters of AutoDDPM."""

from __future__ import annotations

from typing import Literal

from dal_auto.errors import InputError, PlansError
from dal_auto.methods.slices import SliceSettings
from dal_auto.schema import ours, paper


class AutoDDPMSettings(SliceSettings):
    """Of the published code, but where a source says otherwise."""

    slices_per_step: int = paper(16, "its batch", ge=1)
    input_side: int = paper(128, "slices of 128×128", ge=16)
    widths: tuple[int, ...] = paper((128, 256, 256), "3 levels")
    residual_blocks: int = paper(1, "of each level", ge=1)
    attention_levels: int = paper(2, "the lowest", ge=0)
    head_channels: int = paper(256, "of a head of the attention", ge=1)
    norm_groups: int = paper(32, "of the group norm", ge=1)
    timesteps: int = paper(1000, "T, with β from 0.1/T to 20/T", ge=20)
    mask_timesteps: int = paper(200, "how deep a slice is buried for the mask", ge=1)
    stitch_timesteps: int = paper(50, "how deep the stitched slice is buried", ge=1)
    resamplings: int = paper(5, "of each step of the stitched slice", ge=1)
    percentile: float = paper(0.95, "of the difference, above which it counts as 1", gt=0, lt=1)
    threshold: float = paper(0.13, "τ of the mask, until calibration finds its own", ge=0)
    false_positive_rate: float = paper(0.05, "of healthy brain that calibration masks", gt=0, lt=1)
    calibration_cases: int = ours(4, "each slice of theirs takes all the passes of a mask", ge=1)
    perceptual: Literal["lpips", "none"] = paper("lpips", "what weighs differences")
    lpips_weights: str = ours("", "file of LPIPS's weights, safetensors; nothing is downloaded")
    lpips_sha256: str = ours("", "of that file", pattern=r"^([0-9a-fA-F]{64})?$")


def check(settings: AutoDDPMSettings) -> None:
    """Refuse what cannot be, by its key.

    Raises
    ------
    PlansError
        for sizes that do not fit each other.
    InputError
        where LPIPS is wanted and no file is named; it says both ways on.
    """
    s, prefix = settings, "method.settings"
    factor = 2 ** (len(s.widths) - 1)
    if s.input_side % factor:
        raise PlansError(f"{prefix}.input_side", s.input_side, f"a multiple of {factor}")
    if any(width % s.norm_groups for width in s.widths):
        raise PlansError(f"{prefix}.widths", s.widths, f"multiples of norm_groups {s.norm_groups}")
    for key in ("mask_timesteps", "stitch_timesteps"):
        if getattr(s, key) >= s.timesteps:
            raise PlansError(f"{prefix}.{key}", getattr(s, key), f"below timesteps {s.timesteps}")
    if s.perceptual == "lpips" and not (s.lpips_weights and s.lpips_sha256):
        lacking = "lpips_sha256" if s.lpips_weights else "lpips_weights"
        raise InputError(
            f"{prefix}.{lacking}",
            "it is empty: AutoDDPM weighs differences by LPIPS (SqueezeNet), and downloads nothing",
            "Either put torchvision's squeezenet1_1 features.* and the package lpips's lin0 to "
            "lin6 into one safetensors file, and name it and its checksum: --set "
            "method.settings.lpips_weights=FILE --set method.settings.lpips_sha256=SHA256. Or go "
            "without, which is another method and is called l1: --set "
            "method.settings.perceptual=none",
        )
