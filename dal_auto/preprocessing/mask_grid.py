"""Which of a case's images a mask belongs to: the one whose voxels are the mask's voxels.

Headers of masks are written by other programs than the image's: axes are turned (fMRIPrep writes
masks in RAS whatever the scan is in), origins and directions are rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import nibabel as nib
import numpy as np
import numpy.typing as npt

from dal_auto.case import Grid

#: Of voxels this share apart at most, origins and directions were rounded.
SAME_GRID_VOXELS = 0.1
#: Headers in single precision disagree by this much; no word about it.
SINGLE_PRECISION_MM = 1e-2

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class MatchedMask(Generic[T]):
    """A mask beside the images of its case.

    Parameters
    ----------
    array : (x, y, z) values, axes in the order and direction of the image's
    grid : where the mask's header puts them
    sequence : the image whose voxels the mask's are; None if there is none
    apart_mm : by image: the largest distance between the places that the two headers give a voxel;
        infinite where the shapes differ
    """

    array: npt.NDArray[T]
    grid: Grid
    sequence: str | None
    apart_mm: Mapping[str, float]

    def difference(self, grids: Mapping[str, Grid]) -> str:
        """How the mask's grid differs from those of the images, in words."""
        images = ", ".join(
            f"{name} {image.shape} {image.axcodes}, "
            + (
                "another shape"
                if math.isinf(self.apart_mm[name])
                else f"up to {self.apart_mm[name]:.3g} mm apart"
            )
            for name, image in grids.items()
        )
        return f"grid {self.grid.shape} {self.grid.axcodes} is that of no image ({images})"


def match_mask(array: npt.NDArray[T], grid: Grid, grids: Mapping[str, Grid]) -> MatchedMask[T]:
    """Find the image that a mask belongs to, and turn the mask's axes to the image's.

    Parameters
    ----------
    array : (x, y, z) on `grid`
    grids : sequence → where each image truly lies, one at least; of several that would do, the
        nearest has the mask, of equals the first
    """
    turned = {name: _turned(array, grid, image) for name, image in grids.items()}
    apart = {name: place.farthest_mm(grids[name]) for name, (_, place) in turned.items()}
    nearest = min(apart, key=lambda name: apart[name])
    values, place = turned[nearest]
    same = apart[nearest] <= SAME_GRID_VOXELS * min(grids[nearest].spacing_mm)
    if same or place.equals(grids[nearest], SINGLE_PRECISION_MM):
        return MatchedMask(values, place, nearest, apart)
    return MatchedMask(array, grid, None, apart)


def _turned(array: npt.NDArray[T], grid: Grid, image: Grid) -> tuple[npt.NDArray[T], Grid]:
    """Values with their axes in the order and direction of an image's; nothing else changes."""
    own, wanted = (nib.io_orientation(one.affine) for one in (grid, image))
    turn = nib.orientations.ornt_transform(own, wanted)
    values: npt.NDArray[Any] = nib.orientations.apply_orientation(array, turn)
    x, y, z = values.shape
    affine = grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)
    return values, Grid((x, y, z), affine)
