"""deepbet (Fisch et al., 2024); its weights come with its wheel."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.skull_strip.installed import package_version

logger = logging.getLogger(__name__)


def version() -> str:
    return package_version(
        "deepbet", "Install it with `pip install deepbet`, or plan another `skull_strip`."
    )


@cache
def _model() -> Any:
    from deepbet.bet import BrainExtraction

    return BrainExtraction(no_gpu=True)


def find(image: FloatArray, grid: Grid) -> BoolArray:
    try:
        _, mask, _ = _model().run(nib.Nifti1Image(image, grid.affine))
    except (AssertionError, ValueError) as error:  # its networks found nothing, or too little
        logger.debug("deepbet: %s", error)
        return np.zeros(image.shape, bool)
    return np.asarray(mask.dataobj) > 0
