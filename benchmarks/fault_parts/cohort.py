"""Noisy copies of the atlas's brain, some with a bright ball; one is coarse, and lies turned.

None needs stripping, and only the turned one registration, so that a command takes seconds.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from dal_auto.case import Grid
from dal_auto.images.reading import read_image
from dal_auto.images.writing import write_image
from dal_auto.preprocessing.atlas import load_atlas

_CENTRE, _RADIUS = (80, 120, 90), 12  # voxels
_NOISE = 0.03
_STEP = 3  # every third voxel of the turned one
_TURN = 0.2  # radians


def make_cohort(home: Path) -> None:
    """Write ``raw/Healthy`` (2 cases), ``raw/Lesions`` (1) and ``scans`` (2), all of T1 alone."""
    for number in range(2):
        _write_case(home / "raw" / "Healthy", f"healthy_{number}", number)
    _write_case(home / "raw" / "Lesions", "lesioned_0", 10, lesion=True)
    image = home / "raw" / "Lesions" / "imagesTr" / "lesioned_0_0000.nii.gz"
    (home / "scans").mkdir()
    shutil.copyfile(image, home / "scans" / "lesioned_T1.nii.gz")
    stored, grid = read_image(image)
    coarse = stored[::_STEP, ::_STEP, ::_STEP].astype(np.uint8)
    affine = _turn() @ grid.affine @ np.diag([_STEP, _STEP, _STEP, 1.0])
    write_image(home / "scans" / "turned_T1.nii.gz", coarse, Grid(coarse.shape, affine))
    for dataset in ("Healthy", "Lesions"):
        description = {
            "channel_names": {"0": "T1"},
            "labels": {"background": 0, "lesion": 1},
            "numTraining": 1,
            "file_ending": ".nii.gz",
        }
        (home / "raw" / dataset / "dataset.json").write_text(json.dumps(description))


def _write_case(folder: Path, name: str, seed: int, *, lesion: bool = False) -> None:
    """A T1 on the atlas's grid; a lesion is bright."""
    rng, atlas = np.random.default_rng(seed), load_atlas()
    brain = atlas.brain_mask
    image = atlas.image / np.percentile(atlas.image, 99.9)
    ball = _ball(brain.shape) & brain & lesion
    noisy = np.where(ball, 1.1, image) + _NOISE * rng.standard_normal(brain.shape)
    stored = np.where(brain, np.clip(noisy * 200, 4, 255), 0).astype(np.uint8)
    write_image(folder / "imagesTr" / f"{name}_0000.nii.gz", stored, atlas.grid)
    if lesion:
        write_image(folder / "labelsTr" / f"{name}.nii.gz", ball.astype(np.uint8), atlas.grid)


def _turn() -> np.ndarray:
    """About the front-to-back axis, in mm."""
    sine, cosine = np.sin(_TURN), np.cos(_TURN)
    turn = np.eye(4)
    turn[[0, 0, 2, 2], [0, 2, 0, 2]] = cosine, sine, -sine, cosine
    return turn


def _ball(shape: tuple[int, ...]) -> np.ndarray:
    places = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm(places - _CENTRE, axis=-1) < _RADIUS
