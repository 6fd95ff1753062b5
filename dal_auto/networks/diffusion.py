"""Denoising diffusion with a linear schedule, and steps back with the variance of the way there.

Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020. MONAI's schedulers draw
Gaussian noise of their own; here the caller draws it.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from torch import Tensor


def kept_signal(timesteps: int) -> np.ndarray:
    """ᾱ: share of the slice's power that is left at each moment, with a linear β; (T,) float64."""
    return np.cumprod(1 - np.linspace(1e-4, 0.02, timesteps) * 1000 / timesteps)


def step_back(
    noisy: Tensor,
    found: Tensor,
    noise: Tensor | None,
    kept: float,
    kept_before: float,
    least: float = -1.0,
) -> Tensor:
    """One step of the way back: a draw from what lies before, given the noise that was found.

    Its variance is that of the way there ("fixed large"); the slice it leads to lies in [least, 1].

    Parameters
    ----------
    noise : of the kind that was added on the way there; None for the mean
    kept, kept_before : ᾱ now, and at the moment stepped to (1: no noise)
    """
    slices = ((noisy - sqrt(1 - kept) * found) / sqrt(kept)).clamp(least, 1)
    shrinking = kept / kept_before
    mean = (
        sqrt(kept_before) * (1 - shrinking) / (1 - kept) * slices
        + sqrt(shrinking) * (1 - kept_before) / (1 - kept) * noisy
    )
    return mean if noise is None else mean + sqrt(1 - shrinking) * noise
