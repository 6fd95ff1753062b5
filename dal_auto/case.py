"""The nouns that travel through the house: Grid, RawCase, Geometry, StandardCase.

Arrays are (x, y, z) in nibabel's order; affines map voxel indices to RAS world coordinates in mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from dal_auto.errors import DalError
from dal_auto.schema import Array

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
Shape = tuple[int, int, int]
"""Voxels along x, y, z."""

#: Of a standard case, whose voxels are cubes of 1 mm.
STANDARD_VOXEL_ML = 0.001


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel lattice in the world.

    Parameters
    ----------
    shape : number of voxels along x, y, z
    affine : (4, 4) array, voxel indices → RAS mm
    """

    shape: Shape
    affine: Array

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size in mm along each axis."""
        i, j, k = (float(np.linalg.norm(column)) for column in self.affine[:3, :3].T)
        return i, j, k

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def axcodes(self) -> str:
        """nibabel's axis codes, i.e. where each axis *goes*: ITK's "RAI" is ``LPS`` here."""
        return "".join(nib.aff2axcodes(self.affine))

    def equals(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether two grids are the same lattice, up to `tolerance_mm` in every affine entry."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=tolerance_mm
        )

    def part(self, box: Sequence[slice]) -> Grid:
        """The grid of the voxels in a box, each where it was."""
        first = [side.start for side in box]
        x, y, z = (side.stop - side.start for side in box)
        move = np.eye(4)
        move[:3, 3] = first
        return Grid((x, y, z), self.affine @ move)

    def farthest_mm(self, other: Grid) -> float:
        """Distance between the places that two grids of one shape give a voxel, at most; infinite
        where their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        ends = np.array(list(itertools.product(*((0, size - 1) for size in self.shape), (1,))))
        apart = ends @ (self.affine - other.affine).T
        return float(np.linalg.norm(apart[:, :3], axis=1).max())


@dataclass(frozen=True)
class ClaimedState:
    """What a dataset's record says was already done; ``None`` = not said, to be measured.

    Parameters
    ----------
    stripped : the skull is removed
    registered : the images lie on the SRI24 grid
    bias_corrected : N4 or an equal was run
    coregistered : all sequences of a case share one grid and pose
    """

    stripped: bool | None = None
    registered: bool | None = None
    bias_corrected: bool | None = None
    coregistered: bool | None = None


@dataclass(frozen=True)
class RawCase:
    """One examination as it lies on disk: paths only, no voxels.

    Parameters
    ----------
    dataset, case_id, patient_id : names; one patient may have several cases
    sequences : sequence name ("T1", "T2", …) → image file
    lesion_mask : file whose voxels > 0.5 are lesion, on the grid of one of the images
    brain_mask : file whose voxels > 0.5 are brain, where the dataset ships one
    claims : what the dataset's record says was already done
    dicom : sequence → files of the DICOM series that the image was made of, in the order of z
    fault : why none of its images can be read, where that is known; there are no sequences then
    """

    dataset: str
    case_id: str
    patient_id: str
    sequences: Mapping[str, Path]
    lesion_mask: Path | None = None
    brain_mask: Path | None = None
    claims: ClaimedState = field(default_factory=ClaimedState)
    dicom: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    fault: DalError | None = None


@dataclass(frozen=True, eq=False)
class Geometry:
    """What is needed to bring a result home.

    Parameters
    ----------
    native : sequence → the grid of the image as it came
    atlas_to_native : sequence → (4, 4) rigid or affine matrix, atlas RAS mm → native RAS mm
        (the direction in which an image is resampled onto the atlas grid)
    """

    native: Mapping[str, Grid]
    atlas_to_native: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class StandardCase:
    """One examination on the standard grid: 160×224×160 voxels of 1 mm in SRI24 space, axes LPS.

    Parameters
    ----------
    sequences : names of the images, in the order of `images`
    images : (sequence, x, y, z) float32, skull-stripped, ≥ 0, divided by `scale`; not yet
        histogram-matched (that happens when a case is read, with the landmarks of the plans)
    brain_mask : (x, y, z) bool
    lesion_mask : (x, y, z) bool, or None where the dataset has none
    geometry : how to go home
    scale : sequence → value that 1.0 stands for, in the units of the native image
    percentiles : sequence → intensities of `images` inside the brain at the plans' percentiles
    quality : figure name → value (brain volume in ml, overlap with the atlas, …)
    steps : what was done to the case, in order, with tool versions
    shown : sequence → (x, y, z) bool, the part of the brain that it shows; none for the sequences
        whose field of view holds the whole brain. Outside of it `images` is 0, which means nothing
    """

    dataset: str
    case_id: str
    patient_id: str
    sequences: tuple[str, ...]
    images: FloatArray
    brain_mask: BoolArray
    lesion_mask: BoolArray | None
    geometry: Geometry
    scale: Mapping[str, float]
    percentiles: Mapping[str, tuple[float, ...]]
    quality: Mapping[str, float]
    steps: tuple[str, ...]
    shown: Mapping[str, BoolArray] = field(default_factory=dict)

    def brain_of(self, sequence: str) -> BoolArray:
        """(x, y, z) bool, the brain as far as a sequence shows it."""
        return self.shown.get(sequence, self.brain_mask)

    def image(self, sequence: str) -> FloatArray:
        """(x, y, z) image of one sequence."""
        return self.images[self.sequences.index(sequence)]
