"""Hyper-parameters of AutoDDPM."""

from __future__ import annotations

from dal_auto.errors import PlansError
from dal_auto.methods.coarse import CoarseSettings, require_lpips
from dal_auto.schema import paper


class AutoDDPMSettings(CoarseSettings):
    """Of the published code, but where a source says otherwise."""

    slices_per_step: int = paper(16, "its batch", ge=1)
    input_side: int = paper(128, "slices of 128×128", ge=16)
    widths: tuple[int, ...] = paper((128, 256, 256), "3 levels")
    residual_blocks: int = paper(1, "of each level", ge=1)
    attention_levels: int = paper(2, "the lowest", ge=0)
    head_channels: int = paper(256, "of a head of the attention", ge=1)
    norm_groups: int = paper(32, "of the group norm", ge=1)
    timesteps: int = paper(1000, "T, with β from 0.1/T to 20/T", ge=20)
    mask_timesteps: int = paper(200, "how many steps of noise a slice gets for the mask", ge=1)
    stitch_timesteps: int = paper(50, "how many steps of noise the stitched slice gets", ge=1)
    resamplings: int = paper(5, "of each step of the stitched slice", ge=1)


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
    require_lpips(s, "AutoDDPM")
