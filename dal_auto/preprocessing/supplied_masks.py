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
from dal_auto.preprocessing.mask_grid import match_mask


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
    found = match_mask(mask, true_grid(grid, true_header), grids)
    if found.sequence is not None:
        return SuppliedMask(found.array, found.sequence)
    raise InputError(
        path,
        f"the {what}'s {found.difference(grids)}",
        "Resample the mask onto one of the case's images.",
    )
