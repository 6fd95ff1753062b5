"""N4 bias field correction (Tustison et al., IEEE TMI 29, 1310–1320, 2010), by SimpleITK."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy.interpolate import make_interp_spline

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.volumes import Box, box_around

_CUBIC = 3  # the degree of N4's own splines
_MARGIN = 2  # voxels around the mask: what is later interpolated at its surface


def correct_bias_field(
    image: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    estimate_spacing_mm: float,
    iterations: tuple[int, ...],
    threads: int,
    estimate_in: BoolArray | None = None,
) -> FloatArray:
    """Divide `image` by the smooth multiplicative field that N4 estimates inside `mask`.

    The field is a cubic spline: evaluated where it was estimated, and interpolated as one, it is
    what N4 would give at full resolution, at a fifth of the cost.

    Parameters
    ----------
    image : (x, y, z), any scale; values ≤ 0 take no part in the estimate
    mask : (x, y, z), the brain; without it N4 can make a head worse than no correction
    estimate_spacing_mm : the field is estimated on every n-th voxel, n chosen for each axis so that
        their distance comes nearest to this
    iterations : most iterations at each level
    estimate_in : (x, y, z) part of the mask that alone takes part in the estimate; None for all

    Returns
    -------
    (x, y, z) float32, in the units of `image`, with the field's mean over the mask kept at 1;
    beyond the box around the mask the image is as it was

    Raises
    ------
    ValueError
        if the mask is empty
    """
    box = box_around(mask, _MARGIN)
    if box is None:
        raise ValueError("the brain mask is empty")
    taking_part = (mask if estimate_in is None else estimate_in) & (image > 0)
    itk_image = sitk.GetImageFromArray(np.maximum(image, 0).astype(np.float32).T)
    itk_mask = sitk.GetImageFromArray(taking_part.astype(np.uint8).T)
    for itk in (itk_image, itk_mask):
        itk.SetSpacing(grid.spacing_mm)
    factors = [max(1, round(estimate_spacing_mm / mm)) for mm in grid.spacing_mm]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(i) for i in iterations])
    n4.SetNumberOfThreads(threads)
    small = sitk.Shrink(itk_image, factors)
    n4.Execute(small, sitk.Shrink(itk_mask, factors))
    field = np.exp(_at_full_resolution(n4.GetLogBiasFieldAsImage(small), grid, box))
    field /= field[mask[box]].mean()
    corrected = image.astype(np.float32)
    corrected[box] /= field
    return corrected


def _at_full_resolution(small: sitk.Image, grid: Grid, box: Box) -> FloatArray:
    """The log field at the voxels of `box`, interpolated along one axis after the other."""
    field: FloatArray = sitk.GetArrayFromImage(small).T.astype(np.float64)
    for axis, within in enumerate(box):
        count = small.GetSize()[axis]
        places = small.GetOrigin()[axis] + small.GetSpacing()[axis] * np.arange(count)
        spline = make_interp_spline(
            places / grid.spacing_mm[axis], field, k=min(_CUBIC, count - 1), axis=axis
        )
        field = spline(np.arange(within.start, within.stop))
    return field.astype(np.float32)
