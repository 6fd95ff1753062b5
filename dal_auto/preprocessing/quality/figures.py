"""The figures of one standard case: how well it lies on the atlas, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dal_auto.case import BoolArray, FloatArray
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.quality.measures import (
    alignment,
    atlas_on_grid,
    masked_block_mean,
    normalised_mutual_information,
    residual_bias,
)
from dal_auto.volumes import block_mean, correlation, dice


def quality_figures(
    images: Mapping[str, FloatArray],
    brain_mask: BoolArray,
    native_brain_ml: float,
    atlas: Atlas,
    inside: Mapping[str, BoolArray] | None = None,
    *,
    native_scale: float = 1.0,
) -> dict[str, float]:
    """Figures of one case on the target grid.

    Parameters
    ----------
    images : sequence → (x, y, z) on the target grid, stripped
    brain_mask : (x, y, z) bool
    native_brain_ml : volume of the brain mask before resampling and cropping
    inside : by sequence: (x, y, z) bool, the brain as far as it shows it; by default all of it
    native_scale : how much of the native space a volume of the target grid is: 1 unless the brain
        was scaled, as by an affine registration

    Returns
    -------
    figure → value, as `limits.FIGURES` explains them. What cannot be measured (too small a
    brain, one that missed the atlas, no second sequence) is left out.
    """
    x, y, z = brain_mask.shape
    template = atlas_on_grid(atlas, (x, y, z))
    brains = {name: (inside or {}).get(name, brain_mask) for name in images}
    count, blocks = float(brain_mask.sum()), block_mean(brain_mask, 2)
    kept_ml = count * atlas.grid.voxel_ml * native_scale
    wrong = {name: ~(np.isfinite(image) & (image >= 0)) for name, image in images.items()}
    images = {name: np.where(wrong[name], 0, image) for name, image in images.items()}
    figures = {
        "brain_ml": native_brain_ml,
        "atlas_dice": dice(brain_mask, template.brain),
        "leak_share": float(blocks[template.far].sum() / max(blocks.sum(), 1e-6)),
        "brain_outside_share": max(0.0, 1 - kept_ml / native_brain_ml) if native_brain_ml else 1.0,
        "bad_voxels": float(sum(int(voxels.sum()) for voxels in wrong.values())),
    }
    for sequence, image in images.items():
        common = brains[sequence] & template.brain
        atlas_blocks, solid = masked_block_mean(template.image, common, 4)
        if solid.any():
            pair = masked_block_mean(image, common, 4)[0][solid], atlas_blocks[solid]
            if sequence == "T1":
                figures["atlas_correlation_T1"] = correlation(*pair)
            else:
                figures[f"atlas_nmi_{sequence}"] = normalised_mutual_information(*pair)
        bias = residual_bias(image, brains[sequence], template.white)
        if bias is not None:
            figures[f"bias_{sequence}"] = bias
    figures |= _alignments(images, brains, atlas.grid.spacing_mm[0])
    return {name: round(value, 4) for name, value in figures.items()}


def _alignments(
    images: Mapping[str, FloatArray], brains: Mapping[str, BoolArray], voxel_mm: float
) -> dict[str, float]:
    """Every sequence against T1, or against the first where there is none."""
    figures = {}
    first = "T1" if "T1" in images else next(iter(images), "")
    for sequence, image in images.items():
        if sequence == first:
            continue
        common = brains[first] & brains[sequence]
        if aligned := alignment(images[first], image, common, voxel_mm):
            figures[f"alignment_nmi_{sequence}"], figures[f"alignment_mm_{sequence}"] = aligned
    return figures
