"""The structures that images are drawn from, and where FreeSurfer's numbers belong among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_A2009S = (*range(11100, 11176), *range(12100, 12176))
_WMPARC = (*range(3000, 3036), *range(4000, 4036), 5001, 5002)
#: Structure → FreeSurfer's labels. Sulcal and ventricular CSF are apart: they age apart. The cortex
#: comes whole or in the parcels of aparc+aseg (1000…, 2000…) and aparc.a2009s+aseg (11100…,
#: 12100…), the white matter whole or in those of wmparc; parts of the corpus callosum and what is
#: marked as lesion (25, 57; 77) belong to the white matter.
_LABELS: dict[str, tuple[int, ...]] = {
    "sulci": (24,),
    "ventricles": (4, 5, 14, 15, 43, 44, 72, 136, 137, 163, 164),
    "cortex": (3, 42, *range(1000, 1036), *range(2000, 2036), *_A2009S),
    "white matter": (2, 41, 25, 57, 77, 85, 192, *range(251, 256), *_WMPARC),
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
_LARGEST_LABEL = max(max(numbers) for numbers in _LABELS.values())


def structures_of(labels: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Map of structures (x, y, z), `OUTSIDE` where no label of the brain is."""
    table = np.full(_LARGEST_LABEL + 2, OUTSIDE, np.uint8)
    for index, numbers in enumerate(_LABELS.values()):
        table[list(numbers)] = index
    return table[np.clip(labels, 0, _LARGEST_LABEL + 1)]


def index_of(name: str) -> int:
    """Where a structure stands in `STRUCTURES`."""
    return STRUCTURES.index(name)
