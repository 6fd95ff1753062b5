"""Source heads: a label map laid rigidly on the atlas, as structures and signed distances.

The distances let `anatomy` widen or narrow ventricles, sulci and the brain's mask by millimetres
that vary from place to place, at the cost of a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dal_auto.case import BoolArray, Grid
from dal_auto.errors import InputError
from dal_auto.images import read_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.registration.backends import register
from dal_auto.store.standard_cases import read_array, write_array
from dal_auto.training.drawn.contrasts import mean_image
from dal_auto.training.drawn.structures import OUTSIDE, STRUCTURES, index_of, structures_of

#: Distances are kept as whole tenths of a millimetre in one byte.
_TENTHS = 10
_FARTHEST_MM = 12.0
#: Gaps up to twice this wide between gyri belong to the brain.
_HULL_MM = 7
#: Fewer structures than this, and the numbers are not FreeSurfer's.
_FEWEST_STRUCTURES = 8


@dataclass(frozen=True, eq=False)
class Head:
    """A source head on the standard grid of 1 mm.

    Parameters
    ----------
    name : of the file it came from
    structures : (x, y, z) uint8, index into `STRUCTURES`, or `OUTSIDE`
    tissue : as `structures`, but of the nearest tissue where fluid or nothing is: what shrinking
        ventricles or sulci leave behind
    to_ventricles, to_sulci, to_surface : (x, y, z) int8, tenths of a mm to the surface of the
        ventricles, of the sulci's fluid, and of the brain's hull; negative inside
    """

    name: str
    structures: npt.NDArray[np.uint8]
    tissue: npt.NDArray[np.uint8]
    to_ventricles: npt.NDArray[np.int8]
    to_sulci: npt.NDArray[np.int8]
    to_surface: npt.NDArray[np.int8]

    def save(self, path: Path) -> None:
        """Write all arrays into one file, atomically."""
        distances = (self.to_ventricles, self.to_sulci, self.to_surface)
        parts = [self.structures, self.tissue, *(part.view(np.uint8) for part in distances)]
        write_array(path, np.stack(parts))

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read what `save` wrote."""
        structures, tissue, *distances = read_array(path)
        return cls(path.stem, structures, tissue, *(part.view(np.int8) for part in distances))


def head_name(path: Path) -> str:
    """What the head of a label map is called: the file's name without ``.nii`` and what follows."""
    return path.name[: path.name.rindex(".nii")]


def head_from_labels(path: Path, plan: PreprocessingPlan, threads: int = 1) -> Head:
    """Read a label map and lay it on the atlas.

    Parameters
    ----------
    path : whole head or brain, labelled with FreeSurfer's numbers
    plan : names the registration, the atlas's space and the standard grid

    Raises
    ------
    InputError
        if the labels are not FreeSurfer's.
    RegistrationError
        if the registration fails.
    """
    labels, grid = read_image(path)
    structures = structures_of(np.rint(labels).astype(np.int16))
    found = len(np.unique(structures)) - 1
    if found < _FEWEST_STRUCTURES:
        raise InputError(
            path,
            f"{found} of {len(STRUCTURES)} structures were found by FreeSurfer's numbers",
            "Put only label maps with FreeSurfer's numbers into this folder.",
        )
    atlas = load_atlas()
    to_head = register(
        atlas.image, atlas.grid, mean_image(structures, "T1"), grid, plan=plan, threads=threads
    )
    standard = centre_crop_or_pad(atlas.grid, plan.target_shape)
    return with_distances(head_name(path), _on(standard, structures, grid, to_head))


def _on(
    standard: Grid, structures: npt.NDArray[np.uint8], grid: Grid, to_head: np.ndarray
) -> npt.NDArray[np.uint8]:
    voxels = np.linalg.inv(grid.affine) @ to_head @ standard.affine
    found: npt.NDArray[np.uint8] = ndimage.affine_transform(
        structures,
        voxels[:3, :3],
        voxels[:3, 3],
        output_shape=standard.shape,
        order=0,
        cval=OUTSIDE,
    )
    return found


def with_distances(name: str, structures: npt.NDArray[np.uint8]) -> Head:
    """The head around whose brain everything is OUTSIDE and as far away as can be kept."""
    brain = structures != OUTSIDE
    margin = int(_FARTHEST_MM) + 1
    box = tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part in ndimage.find_objects(brain.astype(np.uint8))[0]
    )
    far = int(_FARTHEST_MM * _TENTHS)
    fillings = (OUTSIDE, index_of("sulci"), far, -far, far)
    arrays = []
    for part, filling in zip(_parts(structures[box]), fillings, strict=True):
        whole = np.full(structures.shape, filling, part.dtype)
        whole[box] = part
        arrays.append(whole)
    return Head(name, *arrays)


def _parts(structures: npt.NDArray[np.uint8]) -> tuple[np.ndarray, ...]:
    """The arrays of a `Head`, in their order."""
    sulci, ventricles = (structures == index_of(part) for part in ("sulci", "ventricles"))
    solid = (structures != OUTSIDE) & ~sulci
    # What a closing of the solid brain adds, and only that, is inside it: labels differ in how much
    # fluid around the brain they take in.
    hull = _signed_mm(ndimage.distance_transform_edt(~solid) <= _HULL_MM) + _HULL_MM <= 0
    hull = ndimage.binary_fill_holes(hull | solid)
    structures = np.where(hull & ~solid, index_of("sulci"), structures).astype(np.uint8)
    nearest = ndimage.distance_transform_edt(
        ~solid | ventricles, return_distances=False, return_indices=True
    )
    return (
        structures,
        structures[tuple(nearest)],
        _tenths(_signed_mm(ventricles)),
        _tenths(_signed_mm(~solid)),
        _tenths(_signed_mm(hull)),
    )


def _signed_mm(inside: BoolArray) -> np.ndarray:
    """Distance to the surface of a region, negative inside; voxels are 1 mm."""
    outer = ndimage.distance_transform_edt(~inside)
    inner = ndimage.distance_transform_edt(inside)
    return np.where(inside, 0.5 - inner, outer - 0.5)


def _tenths(distance_mm: np.ndarray) -> npt.NDArray[np.int8]:
    return np.rint(distance_mm.clip(-_FARTHEST_MM, _FARTHEST_MM) * _TENTHS).astype(np.int8)
