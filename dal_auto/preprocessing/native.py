"""A case as it was read, before anything is done to it, and the job that is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dal_auto.case import FloatArray, Grid, RawCase
from dal_auto.errors import CaseFailed
from dal_auto.images import read_scan
from dal_auto.images.shear import at_right_angles, is_sheared
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import Atlas, true_grid
from dal_auto.preprocessing.reference import reference_of
from dal_auto.preprocessing.registration.backends import Transform, register
from dal_auto.preprocessing.resampling import resample, resample_lesions
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.preprocessing.supplied_masks import SuppliedMask, read_supplied_mask
from dal_auto.workers.progress import Stopwatch


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be done to a case, and by which means.

    Parameters
    ----------
    steps : which steps it still needs
    plan : how each step is done
    threads : that each step may use
    watch : is told the steps
    at_once : so many sequences may be worked on side by side
    """

    steps: CaseSteps
    plan: PreprocessingPlan
    atlas: Atlas
    threads: int
    watch: Stopwatch
    at_once: int = 1

    def register(
        self,
        fixed: FloatArray,
        fixed_grid: Grid,
        moving: FloatArray,
        moving_grid: Grid,
        transform: Transform = "rigid",
        plan: PreprocessingPlan | None = None,
    ) -> FloatArray:
        """`registration.register` by the plans' backend, or by that of another `plan`."""
        return register(
            fixed,
            fixed_grid,
            moving,
            moving_grid,
            plan=plan or self.plan,
            transform=transform,
            threads=self.threads,
        )


@dataclass(frozen=True, eq=False)
class NativeCase:
    """A case in memory, each image on its own grid.

    Parameters
    ----------
    images, grids : by sequence: (x, y, z), and where it lies, its axes at right angles
    reference : the sequence that is stripped and registered to the atlas for all
    brain, lesion : masks that came with the case
    homes : by sequence: the grid of the image's file, which differs where that is sheared, or its
        header wrong
    to_home : by sequence: (4, 4), mm in the world of `grids` → mm in the world of `homes`; the
        identity unless the header is wrong
    """

    case_id: str
    images: Mapping[str, FloatArray]
    grids: Mapping[str, Grid]
    reference: str
    brain: SuppliedMask | None
    lesion: SuppliedMask | None
    homes: Mapping[str, Grid]
    to_home: Mapping[str, FloatArray]


def read_native(case: RawCase, steps: CaseSteps) -> NativeCase:
    """Read every file of a case.

    Raises
    ------
    CaseFailed
        if it has no image.
    InputError
        for a bad file, or a mask on a grid of its own.
    """
    if not case.sequences:
        raise CaseFailed(case.case_id, "reading", "it has no image")
    images, grids, homes, to_home = {}, {}, {}, {}
    for name, path in case.sequences.items():
        scan = read_scan(path)
        images[name], homes[name] = scan.array, scan.grid
        grids[name] = grid = true_grid(scan.grid, steps.true_header)
        right = grid is scan.grid
        to_home[name] = np.eye(4) if right else scan.grid.affine @ np.linalg.inv(grid.affine)
    brain, lesion = (
        read_supplied_mask(path, what, grids, steps.true_header)
        for path, what in ((case.brain_mask, "brain mask"), (case.lesion_mask, "lesion mask"))
    )
    reference = reference_of(grids)
    return _straightened(
        NativeCase(case.case_id, images, grids, reference, brain, lesion, homes, to_home)
    )


def _straightened(native: NativeCase) -> NativeCase:
    """The case with every image and mask on a grid whose axes are at right angles.

    Where that is the image's own to half a voxel, as single precision leaves it, no voxel changes;
    otherwise image and masks are resampled once more than others.
    """
    images, homes = dict(native.images), dict(native.homes)
    grids = {name: at_right_angles(grid) for name, grid in native.grids.items()}
    sheared = {name for name, grid in native.grids.items() if is_sheared(grid)}
    for name in images:
        if name in sheared:
            images[name] = resample(images[name], native.grids[name], grids[name], np.eye(4))
        elif homes[name] is native.grids[name]:
            homes[name] = grids[name]

    def straight(supplied: SuppliedMask | None) -> SuppliedMask | None:
        if supplied is None or supplied.sequence not in sheared:
            return supplied
        name = supplied.sequence
        mask = resample_lesions(supplied.mask, native.grids[name], grids[name], np.eye(4))
        return SuppliedMask(mask, name)

    return replace(
        native,
        images=images,
        grids=grids,
        homes=homes,
        brain=straight(native.brain),
        lesion=straight(native.lesion),
    )
