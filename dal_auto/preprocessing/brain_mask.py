"""The brain mask of a case: where it may come from, and whether it can be a brain's.

A mask is judged where it can be compared: after the reference image was laid on the atlas. One
that reaches far beyond the atlas's brain has leaked, one that lacks its depths was cut; both show
whatever the size of the head, which volume alone does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import MissingDependency
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.resampling import resample_mask
from dal_auto.preprocessing.skull_strip.estimate import (
    estimate_brain_mask,
    foreground_mask,
    planned_tools,
)
from dal_auto.volumes import box_around, whole

logger = logging.getLogger(__name__)

#: How the mask of a stripped image is called.
FOREGROUND = "what is not zero"
#: The atlas's distances are kept on every second voxel, and as far around its brain as this.
_STEP, _MARGIN = 2, 40


@dataclass(frozen=True, eq=False)
class BrainMask:
    """A brain mask on the reference image's grid.

    Parameters
    ----------
    mask : (x, y, z)
    origin : where it comes from, in words; a tool with its version
    """

    mask: BoolArray
    origin: str


def candidate_masks(
    native: NativeCase, reference_to: Callable[[], Mapping[str, FloatArray]], job: Job
) -> Iterator[BrainMask]:
    """The masks to try, in order; a tool runs only when its mask is asked for.

    A mask that came with the case has no rival, nor has that of an image said to be stripped.

    Parameters
    ----------
    reference_to : gives, or waits for, what `coregister` returns
    """
    image, grid = native.images[native.reference], native.grids[native.reference]
    supplied = native.brain
    if job.steps.strip:
        yield from _by_tools(native, job)
    elif supplied is not None:
        with job.watch.step("brain mask"):
            mask, name = supplied.mask, supplied.sequence
            if name != native.reference:
                mask = resample_mask(mask, native.grids[name], grid, reference_to()[name])
        yield BrainMask(mask, "supplied with the case")
    else:
        # Images that were registered to each other here do not share a grid.
        seen = [image] if job.steps.coregister else list(native.images.values())
        with job.watch.step("brain mask"):
            mask = foreground_mask(seen, grid)
        yield BrainMask(mask, FOREGROUND)
        if job.steps.strip_if_doubtful:
            try:
                yield from _by_tools(native, job)
            except MissingDependency as error:
                logger.warning("%s: no tool can find the brain: %s", native.case_id, error)


def _by_tools(native: NativeCase, job: Job) -> Iterator[BrainMask]:
    image, grid = native.images[native.reference], native.grids[native.reference]
    where = "" if native.reference == "T1" else f", on {native.reference} for want of a whole T1"
    for tool, version in planned_tools(job.plan)[0].items():
        with job.watch.step("brain mask"):
            mask = estimate_brain_mask(image, grid, tool)
        yield BrainMask(mask, f"{version}{where}")


@dataclass(frozen=True)
class MaskFit:
    """How a mask compares with the atlas's brain.

    Parameters
    ----------
    volume_ml : of the mask
    beyond_ml : of it, farther outside the atlas's brain than the plans' reach
    missing_ml : of the atlas's brain, deeper inside than that reach and in the field of view, but
        not in the mask
    dice : overlap with the atlas's brain
    """

    volume_ml: float
    beyond_ml: float
    missing_ml: float
    dice: float

    def doubts(self, plan: PreprocessingPlan) -> list[str]:
        """Why this is hardly a brain's mask, in words; nothing where it may be one."""
        low, high = plan.mask_limits_ml
        found = []
        if not low <= self.volume_ml <= high:
            found.append(f"{self.volume_ml:.0f} ml, outside {low:g} to {high:g}")
        for value, what in (
            (self.beyond_ml, "lie beyond the atlas's brain"),
            (self.missing_ml, "of the atlas's brain are missing"),
        ):
            if value > plan.mask_beyond_ml:
                found.append(f"{value:.0f} ml {what} by more than {plan.mask_reach_mm:g} mm")
        return found


@cache
def _signed_distance_mm(atlas: Atlas) -> tuple[FloatArray, Grid]:
    """Distance to the surface of the atlas's brain, negative inside, on a coarse wide grid."""
    # Every second voxel counts from the atlas's corner, whatever the brain's box.
    box = box_around(atlas.brain_mask) or whole(atlas.grid.shape)
    first = [(part.start // _STEP) * _STEP - _MARGIN for part in box]
    ends = zip(box, first, strict=True)
    x, y, z = (-(-(part.stop + _MARGIN - start) // _STEP) for part, start in ends)
    grid = Grid((x, y, z), atlas.grid.affine @ nib.affines.from_matvec(np.eye(3) * _STEP, first))
    brain = resample_mask(atlas.brain_mask, atlas.grid, grid, np.eye(4))
    distance = ndimage.distance_transform_edt(~brain, sampling=grid.spacing_mm)
    inner = box_around(brain, 1) or whole(grid.shape)
    distance[inner] -= ndimage.distance_transform_edt(brain[inner], sampling=grid.spacing_mm)
    return distance.astype(np.float32), grid


def _look_up(
    values: FloatArray | BoolArray, grid: Grid, points_mm: FloatArray, outside: float
) -> FloatArray:
    """`values` at the nearest voxel of each point; `outside` where there is none."""
    index = np.rint(nib.affines.apply_affine(np.linalg.inv(grid.affine), points_mm)).astype(int)
    within = ((index >= 0) & (index < np.array(grid.shape))).all(axis=1)
    found = np.full(len(points_mm), outside, float)
    found[within] = values[tuple(index[within].T)]
    return found


def fit_to_atlas(
    mask: BoolArray, grid: Grid, atlas: Atlas, atlas_to_mask: FloatArray, reach_mm: float
) -> MaskFit:
    """Compare a mask, which is not empty, with the atlas's brain.

    Parameters
    ----------
    mask : (x, y, z) on `grid`
    atlas_to_mask : (4, 4), atlas mm → mm in the mask's world
    reach_mm : see `MaskFit`
    """
    distance_mm, atlas_grid = _signed_distance_mm(atlas)
    voxels_mm = nib.affines.apply_affine(grid.affine, np.argwhere(mask))
    on_atlas_mm = nib.affines.apply_affine(np.linalg.inv(atlas_to_mask), voxels_mm)
    of_mask = _look_up(distance_mm, atlas_grid, on_atlas_mm, outside=np.inf)

    inside = distance_mm < 0
    atlas_mm = nib.affines.apply_affine(atlas_grid.affine, np.argwhere(inside))
    on_mask_mm = nib.affines.apply_affine(atlas_to_mask, atlas_mm)
    covered = _look_up(mask, grid, on_mask_mm, outside=0) > 0
    in_view = _look_up(np.broadcast_to(True, mask.shape), grid, on_mask_mm, outside=0) > 0

    # A map that scales changes volumes: all are given in the mask's own world.
    atlas_ml = atlas_grid.voxel_ml * float(np.linalg.det(atlas_to_mask[:3, :3]))
    volume_ml = float(mask.sum()) * grid.voxel_ml
    deep = distance_mm[inside] < -reach_mm
    return MaskFit(
        volume_ml=volume_ml,
        beyond_ml=float((of_mask > reach_mm).sum()) * grid.voxel_ml,
        missing_ml=float((deep & ~covered & in_view).sum()) * atlas_ml,
        dice=2 * float(covered.sum()) * atlas_ml / (len(covered) * atlas_ml + volume_ml),
    )
