"""Between the standard 1 mm grid and the grid of a configuration; what a network sees is made here.

For training, validation and prediction alike: match the histogram, then bring to the grid.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.case import StandardCase
from dal_auto.errors import UsageError
from dal_auto.plans import Plans
from dal_auto.preprocessing.histogram_matching import match_histogram


def matched_image(case: StandardCase, sequence: str, plans: Plans) -> Tensor:
    """One image matched to the plans' landmarks: (x, y, z) in [0, 1] on the standard grid, 0 where
    it does not show the brain.

    Raises
    ------
    UsageError
        if the model was not trained on the sequence, or the case does not have it.
    """
    if sequence not in plans.intensity.landmarks:
        known = ", ".join(plans.intensity.landmarks)
        raise UsageError(
            f"the model knows {known}, not {sequence}. Leave these images out, or take a model "
            f"that was trained on {sequence} (`dal_train --sequences … {sequence}`)."
        )
    if sequence not in case.sequences:
        raise UsageError(f"case {case.case_id} has no {sequence}")
    matched = match_histogram(
        case.image(sequence),
        case.brain_of(sequence),
        case.percentiles[sequence],
        plans.intensity.landmarks[sequence],
    )
    return torch.from_numpy(matched)


def mask_to_configuration(brain_mask: np.ndarray, plans: Plans) -> Tensor:
    """(x, y, z) float32, 1 where at least half of a coarse voxel is brain."""
    return (_shrink(torch.from_numpy(brain_mask).float(), plans) >= 0.5).float()


def image_to_configuration(image: Tensor, brain_mask: np.ndarray, plans: Plans) -> Tensor:
    """A matched image on the configuration's grid, 0 outside the brain.

    Where voxels are averaged ("area"), the average runs over the brain's voxels only: background
    would darken the rim, and |x − x_r| would see it.
    """
    small = _shrink(image, plans)
    if plans.configuration.downsampling == "area":
        covered = _shrink(torch.from_numpy(brain_mask).float(), plans)
        small = small / covered.clamp(min=1e-6)
    return (small * mask_to_configuration(brain_mask, plans)).clamp(0, 1)


def to_standard(volume: Tensor, plans: Plans) -> Tensor:
    """A volume (x, y, z) of the configuration's grid on the standard grid, trilinear."""
    shape = plans.preprocessing.target_shape
    if tuple(volume.shape) == shape:
        return volume
    return F.interpolate(volume[None, None].float(), size=shape, mode="trilinear")[0, 0]


def _shrink(volume: Tensor, plans: Plans) -> Tensor:
    shape = plans.configuration.input_shape
    if tuple(volume.shape) == shape:
        return volume
    mode = plans.configuration.downsampling
    return F.interpolate(volume[None, None], size=shape, mode=mode)[0, 0]
