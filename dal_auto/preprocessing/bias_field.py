"""N4 bias field correction (Tustison et al., IEEE TMI 29, 1310–1320, 2010), by SimpleITK."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from dal_auto.case import BoolArray, FloatArray, Grid


def correct_bias_field(
    image: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    estimate_spacing_mm: float,
    iterations: tuple[int, ...],
    threads: int,
) -> FloatArray:
    """Divide `image` by the smooth multiplicative field that N4 estimates inside `mask`.

    Parameters
    ----------
    image : (x, y, z), any scale; values ≤ 0 take no part in the estimate
    mask : (x, y, z), the brain; without it N4 can make a head worse than no correction
    estimate_spacing_mm : the field is estimated on every n-th voxel, n chosen for each axis so that
        their distance comes nearest to this, and evaluated at full resolution
    iterations : most iterations at each level

    Returns
    -------
    (x, y, z) float32, in the units of `image`, with the field's mean over the mask kept at 1
    """
    itk_image = sitk.GetImageFromArray(np.maximum(image, 0).astype(np.float32).T)
    itk_mask = sitk.GetImageFromArray((mask & (image > 0)).astype(np.uint8).T)
    for itk in (itk_image, itk_mask):
        itk.SetSpacing(grid.spacing_mm)
    factors = [max(1, round(estimate_spacing_mm / mm)) for mm in grid.spacing_mm]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(i) for i in iterations])
    n4.SetNumberOfThreads(threads)
    n4.Execute(sitk.Shrink(itk_image, factors), sitk.Shrink(itk_mask, factors))
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(itk_image)).T)
    field /= field[mask].mean()
    return (image / field).astype(np.float32)
