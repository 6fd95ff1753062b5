"""Masks that come with a case: read, and tied to the image whose grid they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dal_auto.case import BoolArray, Grid
from dal_auto.errors import InputError
from dal_auto.images import read_mask
from dal_auto.preprocessing.atlas import true_grid

#: Headers of masks are often written in single precision, or by another program than the image's.
_SAME_GRID_MM = 1e-2


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
    for sequence, image_grid in grids.items():
        if grid.equals(image_grid, tolerance_mm=_SAME_GRID_MM):
            return SuppliedMask(mask, sequence)
    found = ", ".join(f"{name} {image.shape} {image.axcodes}" for name, image in grids.items())
    raise InputError(
        path,
        f"the {what}'s grid {grid.shape} {grid.axcodes} is that of no image ({found})",
        "Resample the mask onto one of the case's images.",
    )
