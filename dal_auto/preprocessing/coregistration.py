"""The images of a case laid onto its reference image, and whether that can be right.

The images of one examination share a world, so that their headers say nearly where they lie. A
registration that starts from the images' centres can lay a thin slab onto the wrong part of the
head: where it moved an image far, its result must explain the images better than the header does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dal_auto.case import FloatArray, Grid
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.registration.backends import RegistrationError
from dal_auto.preprocessing.resampling import map_of_voxels
from dal_auto.workers.threads import side_by_side

logger = logging.getLogger(__name__)

#: People move by some mm between two sequences. Farther than this, other places are tried too.
_FAR_MM = 15.0
_BINS, _SAMPLES = 32, 200_000
#: Of the samples that are not 0: what is brighter counts as this bright.
_BRIGHTEST_PERCENTILE = 99.0


@dataclass(frozen=True, eq=False)
class Coregistered:
    """Where the images of a case lie.

    Parameters
    ----------
    matrices : by sequence: (4, 4), mm in the reference image's world → mm in that image's world
    exceptions : which images do not lie where the backend laid them, in words
    """

    matrices: Mapping[str, FloatArray]
    exceptions: tuple[str, ...] = ()


def coregister(native: NativeCase, job: Job) -> Coregistered:
    """Lay every image of a case onto the reference image, where the steps ask for it."""
    matrices: dict[str, FloatArray] = dict.fromkeys(native.images, np.eye(4))
    if not job.steps.coregister:
        return Coregistered(matrices)
    others = [name for name in native.images if name != native.reference]
    # One place is left to the way to the atlas, which goes on beside this.
    found = side_by_side(
        lambda name: _laid_on_reference(native, name, job), others, job.at_once - 1
    )
    matrices |= {name: matrix for name, (matrix, _) in zip(others, found, strict=True)}
    return Coregistered(matrices, tuple(why for _, why in found if why is not None))


def _laid_on_reference(native: NativeCase, name: str, job: Job) -> tuple[FloatArray, str | None]:
    """The backend's matrix; where that moves the image far, the likeliest of several, and why."""
    fixed, grid = native.images[native.reference], native.grids[native.reference]
    moving, moving_grid = native.images[name], native.grids[name]
    found = job.register(fixed, grid, moving, moving_grid)
    far_mm = _moved_mm(found, moving_grid)
    if far_mm <= _FAR_MM:
        return found, None
    rivals = [found, np.eye(4)]
    if job.plan.registration != "simpleitk":  # it has two places to start from
        other = job.plan.model_copy(update={"registration": "simpleitk"})
        try:
            rivals.append(job.register(fixed, grid, moving, moving_grid, plan=other))
        except RegistrationError as error:
            logger.debug("%s: %s", native.case_id, error)
    likeness = [mutual_information(fixed, grid, moving, moving_grid, one) for one in rivals]
    best = int(np.argmax(likeness))
    if not best:
        return found, None
    why = (
        f"{name} lies {'as its header says' if best == 1 else 'where SimpleITK lays it'}: "
        f"{job.plan.registration} laid it {far_mm:.0f} mm off its header, where it is less like "
        f"the {native.reference}"
    )
    logger.warning("%s: %s", native.case_id, why)
    return rivals[best], why


def _moved_mm(fixed_to_moving: FloatArray, moving_grid: Grid) -> float:
    """How far the middle of the moving image is laid from where its header puts it."""
    middle = moving_grid.affine @ [*((np.array(moving_grid.shape) - 1) / 2), 1.0]
    return float(np.linalg.norm((np.linalg.solve(fixed_to_moving, middle) - middle)[:3]))


def mutual_information(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    fixed_to_moving: FloatArray,
) -> float:
    """Normalised mutual information of two images, 1 to 2, over all that the smaller one shows.

    What lies outside the larger one counts as 0 there, so that losing it gains nothing.

    Parameters
    ----------
    fixed, moving : (x, y, z) on their grids, background 0
    fixed_to_moving : (4, 4), mm in the fixed image's world → mm in the moving image's
    """
    small, small_grid, large, large_grid, way = (
        (moving, moving_grid, fixed, fixed_grid, np.linalg.inv(fixed_to_moving))
        if moving_grid.voxel_ml * moving.size <= fixed_grid.voxel_ml * fixed.size
        else (fixed, fixed_grid, moving, moving_grid, fixed_to_moving)
    )
    step = max(1, round((small.size / _SAMPLES) ** (1 / 3)))
    thin = small[::step, ::step, ::step]
    index = np.argwhere(thin > 0) * step
    if not len(index):
        return 1.0
    to_large = map_of_voxels(large_grid, small_grid, way)
    places = index @ to_large[:3, :3].T + to_large[:3, 3]
    values = ndimage.map_coordinates(large, places.T, order=1, mode="constant")
    joint, _, _ = np.histogram2d(_binned(thin[thin > 0]), _binned(values), bins=_BINS)
    share = joint / joint.sum()
    both = _entropy(share)
    return (_entropy(share.sum(0)) + _entropy(share.sum(1))) / both if both else 1.0


def _binned(values: FloatArray) -> FloatArray:
    filled = values[values > 0]
    top = float(np.percentile(filled, _BRIGHTEST_PERCENTILE)) if filled.size else 1.0
    return np.minimum(values / top, 1)


def _entropy(share: FloatArray) -> float:
    filled = share[share > 0]
    return float(-(filled * np.log(filled)).sum())
