"""The structures that images are drawn from, and where FreeSurfer's numbers belong among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Structure → FreeSurfer's labels. Sulcal and ventricular CSF are apart: they age apart.
_LABELS: dict[str, tuple[int, ...]] = {
    "sulci": (24,),
    "ventricles": (4, 5, 14, 15, 43, 44),
    "cortex": (3, 42),
    "white matter": (2, 41, 77, 85),
    "cerebellar cortex": (8, 47),
    "cerebellar white matter": (7, 46),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brainstem": (16, 28, 60),
    "hippocampus": (17, 18, 26, 53, 54, 58),
    "vessels": (30, 62),
    "plexus": (31, 63),
}
STRUCTURES = tuple(_LABELS)
#: What a voxel outside the brain is called in a map of structures.
OUTSIDE = len(STRUCTURES)

CSF, GREY, WHITE = range(3)
_TISSUES: dict[int, tuple[str, ...]] = {
    CSF: ("sulci", "ventricles", "vessels", "plexus"),
    WHITE: ("white matter", "cerebellar white matter", "pallidum", "brainstem"),
}
#: Tissue of each structure; what is neither CSF nor white matter is grey matter.
TISSUE_OF = tuple(
    next((tissue for tissue, names in _TISSUES.items() if name in names), GREY)
    for name in STRUCTURES
)
#: Labels from here on are no part of the brain.
_FIRST_OUTER_LABEL = 500


def structures_of(labels: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Map of structures (x, y, z), `OUTSIDE` where no label of the brain is."""
    table = np.full(_FIRST_OUTER_LABEL + 1, OUTSIDE, np.uint8)
    for index, numbers in enumerate(_LABELS.values()):
        table[list(numbers)] = index
    return table[np.clip(labels, 0, _FIRST_OUTER_LABEL)]


def index_of(name: str) -> int:
    """Where a structure stands in `STRUCTURES`."""
    return STRUCTURES.index(name)
