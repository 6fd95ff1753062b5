"""Noisy copies of the atlas's brain, some with a bright ball, and one coarse head with its skull.

The copies need no registration and no stripping, so that a command takes seconds; the head takes
the way through all tools.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from dal_auto.case import Grid
from dal_auto.datasets.simulation.heads import atlas_folder
from dal_auto.images.writing import write_image
from dal_auto.preprocessing.atlas import load_atlas

_CENTRE, _RADIUS = (80, 120, 90), 12  # voxels
_NOISE = 0.03


def make_cohort(home: Path) -> None:
    """Write ``raw/Healthy`` (2 cases), ``raw/Lesions`` (1) and ``scans`` (2, T1 alone)."""
    for number in range(2):
        _write_case(home / "raw" / "Healthy", f"healthy_{number}", number)
    _write_case(home / "raw" / "Lesions", "lesioned_0", 10, lesion=True)
    (home / "scans").mkdir()
    image = home / "raw" / "Lesions" / "imagesTr" / "lesioned_0_0000.nii.gz"
    shutil.copyfile(image, home / "scans" / "lesioned_T1.nii.gz")
    _write_head(home / "scans")
    for dataset in ("Healthy", "Lesions"):
        description = {
            "channel_names": {"0": "T1", "1": "T2"},
            "labels": {"background": 0, "lesion": 1},
            "numTraining": 1,
            "file_ending": ".nii.gz",
        }
        (home / "raw" / dataset / "dataset.json").write_text(json.dumps(description))


def _write_case(folder: Path, name: str, seed: int, *, lesion: bool = False) -> None:
    """T1 and, as T2, its negative, on the atlas's grid; a lesion is bright in both."""
    rng, atlas = np.random.default_rng(seed), load_atlas()
    brain = atlas.brain_mask
    t1 = atlas.image / np.percentile(atlas.image, 99.9)
    images = {"0000": t1, "0001": 1.1 - t1}
    ball = _ball(brain.shape) & brain & lesion
    for channel, image in images.items():
        noisy = np.where(ball, 1.1, image) + _NOISE * rng.standard_normal(brain.shape)
        stored = np.where(brain, np.clip(noisy * 200, 4, 255), 0).astype(np.uint8)
        path = folder / "imagesTr" / f"{name}_{channel}.nii.gz"
        write_image(path, stored, atlas.grid)
    if lesion:
        write_image(folder / "labelsTr" / f"{name}.nii.gz", ball.astype(np.uint8), atlas.grid)


def _write_head(folder: Path) -> None:
    """The ICBM152 head, every third voxel."""
    found = nib.load(atlas_folder() / "mni152_atlas" / "mni_icbm152_t1.nii.gz")
    t1 = np.asarray(found.dataobj, np.float32)[::3, ::3, ::3]
    grid = Grid(t1.shape, found.affine @ np.diag([3.0, 3.0, 3.0, 1.0]))
    write_image(folder / "head_T1.nii.gz", t1, grid)


def _ball(shape: tuple[int, ...]) -> np.ndarray:
    places = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm(places - _CENTRE, axis=-1) < _RADIUS
