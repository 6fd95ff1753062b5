"""Registration by SimpleITK: Mattes mutual information and a regular step gradient descent.

The settings are those measured in development beside greedy's (docs/chain.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

import numpy as np
import SimpleITK as sitk

from dal_auto.case import FloatArray, Grid

_SAMPLES = 0.1  # share of the fixed image's voxels, drawn anew at each level
_SEED = 1
_SHRINK, _SMOOTH_VOXELS = (4, 2, 1), (2, 1, 0)
#: Held while ITK's global number of threads is ours: registrations wait for each other.
_GLOBAL_NUMBER = Lock()
#: nibabel's world is RAS, ITK's LPS.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def version() -> str:
    """The backend with its version and settings."""
    shrink = ",".join(map(str, _SHRINK))
    return (
        f"SimpleITK {sitk.Version.VersionString()}, Mattes MI, {_SAMPLES:.0%} samples, "
        f"shrink {shrink}"
    )


def register(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    *,
    transform: Literal["rigid", "affine"],
) -> FloatArray:
    """As `registration.register`; an affine map starts from the rigid one.

    It starts from the images' centres or from their centres of mass, whichever fits better. It runs
    in one thread however many are allowed: with two, the metric's sums differ in their last digits
    from run to run, and the matrix with them.

    Raises
    ------
    RuntimeError
        SimpleITK's own.
    """
    images = _as_itk(fixed, fixed_grid), _as_itk(moving, moving_grid)
    with _one_thread():
        centres = sitk.CenteredTransformInitializerFilter
        starts = [
            sitk.Euler3DTransform(
                sitk.CenteredTransformInitializer(*images, sitk.Euler3DTransform(), mode)
            )
            for mode in (centres.GEOMETRY, centres.MOMENTS)
        ]
        rigid = min(starts, key=lambda start: _method(start).MetricEvaluate(*images))
        _method(rigid).Execute(*images)
        if transform == "rigid":
            return _matrix(rigid)
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(rigid.GetMatrix())
        affine.SetTranslation(rigid.GetTranslation())
        affine.SetCenter(rigid.GetCenter())
        _method(affine).Execute(*images)
        return _matrix(affine)


@contextmanager
def _one_thread() -> Iterator[None]:
    # The metric follows the global number alone, not that of the registration method.
    with _GLOBAL_NUMBER:
        before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _method(transform: sitk.Transform) -> sitk.ImageRegistrationMethod:
    """The method that moves `transform` in place."""
    method = sitk.ImageRegistrationMethod()
    method.SetInitialTransform(transform, inPlace=True)
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_SAMPLES, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_SHRINK)
    method.SetSmoothingSigmasPerLevel(_SMOOTH_VOXELS)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    return method


def _as_itk(array: FloatArray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array, np.float32).T)
    lps = _FLIP @ grid.affine
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection((lps[:3, :3] / grid.spacing_mm).ravel())
    image.SetOrigin(lps[:3, 3])
    return image


def _matrix(transform: sitk.Transform) -> FloatArray:
    """(4, 4) of a linear transform between ITK's worlds, in RAS mm."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis])) - origin
    return _FLIP @ matrix @ _FLIP
