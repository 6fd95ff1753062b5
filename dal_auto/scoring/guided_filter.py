"""The guided filter: a smooth score takes the borders of the image that it was found in.

He, Sun, Tang, "Guided image filtering", IEEE Transactions on Pattern Analysis and Machine
Intelligence 35(6), 2013. In every box the score is fitted by a line of the image's intensities, and
each voxel takes the mean of the lines of all boxes that it lies in. Here only the brain's voxels
count, since the black around it would be the strongest border.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dal_auto.scoring.box_filters import Kernel, mean_filter

#: A box with fewer of its voxels in the brain has no such voxel at its centre, either.
_NO_BRAIN = 1e-6


@torch.no_grad()
def guided_filter(
    score: Tensor, guide: Tensor, brain_mask: Tensor, kernel: Kernel, epsilon: float
) -> Tensor:
    """Fit a score to an image, box by box.

    Parameters
    ----------
    score : (..., x, y, z) float32, ≥ 0; what lies outside the mask does not count
    guide : (x, y, z) or as `score`, the image, finite within the mask
    brain_mask : as `guide`, bool
    kernel : voxels of the box along x, y, z, odd
    epsilon : squared intensity; where the image varies less in a box, the score is only smoothed

    Returns
    -------
    (..., x, y, z) float32, ≥ 0, and 0 outside the mask
    """
    outside = ~brain_mask
    share = mean_filter(brain_mask.float(), kernel).clamp(min=_NO_BRAIN)

    def mean(volume: Tensor) -> Tensor:
        return mean_filter(volume.masked_fill(outside, 0), kernel) / share

    guide = guide.float().masked_fill(outside, 0)
    score = score.float().masked_fill(outside, 0)
    image_mean, score_mean = mean(guide), mean(score)
    covariance = mean(guide * score) - image_mean * score_mean
    variance = (mean(guide.square()) - image_mean.square()).clamp(min=0)
    slope = covariance / (variance + epsilon)
    offset = score_mean - slope * image_mean
    fitted = mean(slope) * guide + mean(offset)
    return fitted.clamp(min=0).masked_fill(outside, 0)
