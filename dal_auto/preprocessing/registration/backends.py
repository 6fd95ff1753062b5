"""Registration of one image to another by the backend of the plans.

Every backend takes the same arguments and gives the same matrix: RAS mm in the fixed image's world
→ RAS mm in the moving image's world, which is the direction in which an image is resampled.
"""

from __future__ import annotations

import subprocess
from typing import Literal

import numpy as np

from dal_auto.case import FloatArray, Grid
from dal_auto.errors import DalError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.registration import greedy, simpleitk

Transform = Literal["rigid", "affine"]

#: No scanner puts a head further from its origin. Headers do, and the backends reckon, or write
#: their matrix, in single precision.
_FARTHEST_MM = 10_000.0


class RegistrationError(DalError):
    """The backend did not give a matrix."""


def backend_settings(plan: PreprocessingPlan) -> str:
    """Which backend runs, with its version and settings.

    Raises
    ------
    MissingDependency
        if the plans name greedy, and there is none.
    """
    if plan.registration == "simpleitk":
        return simpleitk.version()
    settings = f"{plan.registration_metric} {plan.registration_iterations}"
    return f"{greedy.version()}, {settings}, to {plan.registration_finest_mm:g} mm"


def register(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    *,
    plan: PreprocessingPlan,
    transform: Transform = "rigid",
    threads: int,
) -> FloatArray:
    """The map that lays `moving` onto `fixed`.

    Parameters
    ----------
    fixed, moving : (x, y, z) images
    transform : "rigid" has 6 degrees of freedom, "affine" 12

    Returns
    -------
    (4, 4) array, RAS mm in the fixed world → RAS mm in the moving world

    Raises
    ------
    RegistrationError
        if the backend fails; the message says why.
    """
    fixed_grid, from_fixed = _brought_near(fixed_grid)
    moving_grid, from_moving = _brought_near(moving_grid)
    found = _register(fixed, fixed_grid, moving, moving_grid, plan, transform, threads)
    return np.asarray(np.linalg.inv(from_moving) @ found @ from_fixed)


def _brought_near(grid: Grid) -> tuple[Grid, FloatArray]:
    """A grid that lies beyond all bounds moved to the origin, and the way there; others as is."""
    move = np.eye(4)
    centre = (grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1])[:3]
    if np.linalg.norm(centre) <= _FARTHEST_MM:
        return grid, move
    move[:3, 3] = -centre
    return Grid(grid.shape, move @ grid.affine), move


def _register(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    plan: PreprocessingPlan,
    transform: Transform,
    threads: int,
) -> FloatArray:
    try:
        if plan.registration == "simpleitk":
            return simpleitk.register(fixed, fixed_grid, moving, moving_grid, transform=transform)
        return greedy.register(
            fixed,
            fixed_grid,
            moving,
            moving_grid,
            transform=transform,
            metric=plan.registration_metric,
            iterations=greedy.iterations_needed(
                plan.registration_iterations,
                fixed_grid.spacing_mm,
                moving_grid.spacing_mm,
                plan.registration_finest_mm,
            ),
            threads=threads,
        )
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise RegistrationError(f"{plan.registration} failed: {error}") from error
