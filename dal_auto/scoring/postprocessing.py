"""Filters that turn a raw anomaly score into the final one (§3.5.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from dal_auto.scoring.box_filters import erode, kernel_voxels, mean_filter, minimum_filter
from dal_auto.scoring.guided_filter import guided_filter


@torch.no_grad()
def postprocess(
    score: Tensor,
    image: Tensor,
    brain_mask: Tensor,
    *,
    spacing_mm: tuple[float, float, float],
    min_filter_mm: float,
    mean_filter_mm: float,
    guided_mm: float,
    guided_epsilon: float,
    erosion_mm: float,
) -> Tensor:
    """Minimum filter, mean filter, guided filter, then zero outside the eroded brain mask (§3.5.2,
    which has no guided filter).

    Parameters
    ----------
    score : (..., x, y, z), ≥ 0
    image : (x, y, z) or as `score`, in which the score was found, finite within the mask
    brain_mask : as `image`, bool
    spacing_mm : voxel size along x, y, z
    min_filter_mm, mean_filter_mm, guided_mm, erosion_mm : edges of the kernels; 0 = off
    guided_epsilon : see `guided_filter`

    Returns
    -------
    (..., x, y, z) float32, ≥ 0

    Raises
    ------
    ValueError
        if mask and score lie on grids of different shape, or for a size that is no size
    """
    shapes = [tuple(volume.shape) for volume in (score, image, brain_mask)]
    if len({shape[-3:] for shape in shapes}) > 1:
        raise ValueError("score {}, image {} and brain mask {} are not on one grid".format(*shapes))
    score = minimum_filter(score.float(), kernel_voxels(min_filter_mm, spacing_mm))
    score = mean_filter(score, kernel_voxels(mean_filter_mm, spacing_mm))
    if guided_mm:
        kernel = kernel_voxels(guided_mm, spacing_mm)
        score = guided_filter(score, image, brain_mask.bool(), kernel, guided_epsilon)
    inside = erode(brain_mask.bool(), kernel_voxels(erosion_mm, spacing_mm))
    # Not a product: NaN or inf outside the brain would survive it.
    return score.masked_fill_(~inside, 0)
