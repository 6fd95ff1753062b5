"""Masks that come with a case: read, and tied to the image whose grid they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib

from dal_auto.case import BoolArray, Grid
from dal_auto.errors import InputError
from dal_auto.images import read_mask
from dal_auto.preprocessing.atlas import true_grid

#: Headers of masks are written by other programs than the image's: of voxels this share apart at
#: most, origins and directions were rounded.
SAME_GRID_VOXELS = 0.1
_SINGLE_PRECISION_MM = 1e-2


@dataclass(frozen=True, eq=False)
class SuppliedMask:
    """A mask on the grid of one of the case's images.

    Parameters
    ----------
    mask : (x, y, z)
    sequence : the image whose grid it shares, and with which it moves
    """

    mask: BoolArray
    sequence: str


def read_supplied_mask(
    path: Path | None,
    what: str,
    grids: Mapping[str, Grid],
    true_header: Literal["LPS", "RAS"] | None,
) -> SuppliedMask | None:
    """Read a mask, or give None where the case has none.

    Parameters
    ----------
    what : "lesion mask" or "brain mask", for the error
    grids : sequence → grid; of several images that share the mask's, the first has it
    true_header : see `CaseSteps`

    Raises
    ------
    InputError
        if the file is bad, or lies on a grid of its own.
    """
    if path is None:
        return None
    mask, grid = read_mask(path)
    grid = true_grid(grid, true_header)
    turned = {name: turn_to(mask, grid, image) for name, image in grids.items()}
    apart = {name: one[1].farthest_mm(grids[name]) for name, one in turned.items()}
    nearest = min(apart, key=lambda name: apart[name])
    if apart[nearest] <= SAME_GRID_VOXELS * min(grids[nearest].spacing_mm) or turned[nearest][
        1
    ].equals(grids[nearest], tolerance_mm=_SINGLE_PRECISION_MM):
        return SuppliedMask(turned[nearest][0], nearest)
    found = ", ".join(
        f"{name} {image.shape} {image.axcodes}, "
        + ("another shape" if apart[name] == math.inf else f"up to {apart[name]:.3g} mm apart")
        for name, image in grids.items()
    )
    raise InputError(
        path,
        f"the {what}'s grid {grid.shape} {grid.axcodes} is that of no image ({found})",
        "Resample the mask onto one of the case's images.",
    )


def turn_to(mask: BoolArray, grid: Grid, image: Grid) -> tuple[BoolArray, Grid]:
    """A mask with its axes in the order and direction of an image's, as nothing else is changed."""
    own, wanted = (nib.io_orientation(one.affine) for one in (grid, image))
    turn = nib.orientations.ornt_transform(own, wanted)
    array = nib.orientations.apply_orientation(mask, turn)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)
    x, y, z = array.shape
    return array, Grid((x, y, z), affine)
