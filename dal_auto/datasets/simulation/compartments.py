"""What a head is made of outside the brain, and how its parts are coded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dal_auto.case import BoolArray, FloatArray
from dal_auto.datasets.simulation.deformation import smooth_noise

(AIR, BRAIN, DEEP, OUTER_CSF, BONE, MARROW, SOFT, FAT, SKIN, EYE, DURA, CORD) = range(12)

# FreeSurfer's numbers; 25 and 57 lie in white matter, 136 to 164 in the ventricles. The
# extra-cerebral ones were read off where they lie in the label maps.
LABELS_CSF = (4, 5, 14, 15, 24, 31, 43, 44, 63, 72, 136, 137, 163, 164)  # with choroid plexus
LABELS_WM = (2, 7, 16, 25, 28, 41, 46, 57, 60, 77, 85, 192, 251, 252, 253, 254, 255)
LABELS_DEEP = (10, 11, 12, 13, 26, 49, 50, 51, 52, 58, 28, 60)
FROM_LABEL: npt.NDArray[np.uint8] = np.zeros(1024, np.uint8)
FROM_LABEL[500:] = SOFT
for _label, _code in {
    502: DURA,  # arteries
    506: EYE,
    511: SKIN,
    512: CORD,
    514: DURA,  # falx, tentorium, veins
    515: BONE,
    516: MARROW,
    530: CORD,  # optic nerve
}.items():
    FROM_LABEL[_label] = _code

RIM_MM, DURA_MM = 2.5, 3.5
SKIN_MM, SCALP_FAT_MM, SCALP_MM = 1.6, 5.0, 6.5
VAULT_MM = 26.0  # where brain and air are nearer than this, what lies between is skull and scalp


def outside_of_brain(
    from_brain_mm: FloatArray, depth_mm: FloatArray, head: BoolArray, t1: FloatArray
) -> npt.NDArray[np.uint8]:
    """Map of compartments (x, y, z) outside the brain of an atlas that has none.

    Over the vault, shells by distance: CSF, dura, skull with diploe, muscle, fat, skin. Below, a
    thin skull base, then bone or soft tissue by the brightness of an average T1 image, where a
    fixed smooth pattern splits soft tissue into muscle and fat.

    Parameters
    ----------
    from_brain_mm, depth_mm : (x, y, z) distance to the brain, and to the air
    head : (x, y, z) solid head, brain included
    t1 : (x, y, z) average T1 image in the units of ICBM152 (white matter about 85)
    """
    pattern = smooth_noise(np.random.default_rng(0), t1.shape, 1.0, 5.0)
    parts = np.where(t1 + 6 * pattern < 30, BONE, np.where(pattern > 0.8, FAT, SOFT))
    vault = from_brain_mm + depth_mm < VAULT_MM
    thickness = np.maximum(from_brain_mm + depth_mm - DURA_MM - SCALP_MM, 1e-3)
    through = (from_brain_mm - DURA_MM) / thickness
    skull = np.where((np.abs(through - 0.5) < 0.22) & (thickness > 4), MARROW, BONE)
    parts = np.where(vault, skull, np.where(from_brain_mm < DURA_MM + 4, BONE, parts))
    parts = np.where(depth_mm < SCALP_MM, SOFT, parts)
    parts = np.where(depth_mm < SCALP_FAT_MM, FAT, parts)
    parts = np.where(depth_mm < SKIN_MM, SKIN, parts)
    parts = np.where(from_brain_mm < DURA_MM, DURA, parts)
    parts = np.where(from_brain_mm < RIM_MM, OUTER_CSF, parts)
    return np.where(head, parts, AIR).astype(np.uint8)
