"""Results back to where the user's scan lives."""

from __future__ import annotations

import numpy as np

from dal_auto.case import FloatArray, Geometry, Grid
from dal_auto.plans import Plans
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.resampling import resample


def standard_grid(plans: Plans) -> Grid:
    """The grid on which predictions lie."""
    return centre_crop_or_pad(ATLAS_GRID, plans.preprocessing.target_shape)


def to_native(volume: FloatArray, geometry: Geometry, sequence: str, plans: Plans) -> FloatArray:
    """A volume of the standard grid on the native grid of `sequence`, in one interpolation.

    Parameters
    ----------
    volume : (x, y, z) on the standard grid

    Returns
    -------
    (x, y, z) float32 of the native image's shape; 0 where the standard grid does not reach
    """
    native_to_atlas = np.linalg.inv(geometry.atlas_to_native[sequence])
    return resample(volume, standard_grid(plans), geometry.native[sequence], native_to_atlas)
