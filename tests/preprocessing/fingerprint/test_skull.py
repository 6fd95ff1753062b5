"""Heads and brains are told apart whatever of them the field of view holds, in any sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import FloatArray, Grid
from dal_auto.images import read_scan
from dal_auto.preprocessing.fingerprint.skull import skull_signs

GRID = Grid((90, 100, 80), np.diag([2.0, 2, 2, 1]))


def ball(radius_mm: float) -> np.ndarray:
    x, y, z = np.ogrid[tuple(slice(size) for size in GRID.shape)]
    away = np.sqrt((x - 45) ** 2 + (y - 50) ** 2 + (z - 40) ** 2)
    return 2 * away <= radius_mm


def head() -> FloatArray:
    """Brain of 66 mm, bone of 8 mm around it, 5 mm of fat: 2.06 l that are not 0."""
    texture = np.random.default_rng(1).uniform(80, 120, GRID.shape)
    image = np.where(ball(66), texture, np.where(ball(74), 8, 200))
    return np.where(ball(79), image, 0).astype(np.float32)


def brain(bright_rim: bool = False) -> FloatArray:
    image = np.where(ball(66), head(), 0)
    return np.where(ball(66) & ~ball(63), 180, image) if bright_rim else image


def cut(image: FloatArray, part: slice) -> tuple[FloatArray, Grid]:
    array = image[:, :, part]
    x, y, z = array.shape
    return array, Grid((x, y, z), GRID.affine)


@pytest.mark.parametrize("part", [slice(None), slice(40, None), slice(28, 52)])
@pytest.mark.parametrize("kind", ["brain", "brain with bright rim", "head"])
def test_shape_and_content_decide(kind, part):
    image = head() if kind == "head" else brain(kind == "brain with bright rim")
    signs = skull_signs(*cut(image, part))
    assert signs.nonzero_ml < 2300  # volume alone would call all of them stripped
    assert signs.stripped == (kind != "head")


def test_a_slab_without_background_is_no_stripped_brain():
    noise = np.random.default_rng(1).uniform(1, 9, GRID.shape).astype(np.float32)
    assert not skull_signs(*cut(head() + noise, slice(30, 55))).stripped


def test_a_dark_lesion_makes_no_head():
    image = brain()
    image[55:75, 45:60, 35:50] = np.where(image[55:75, 45:60, 35:50] > 0, 5, 0)  # 34 ml
    assert skull_signs(image, GRID).stripped


REAL = [
    *[
        f"brats_gli/BraTS2021_{n}/BraTS2021_{n}_{s}"
        for n in ("00000", "00014")
        for s in ("t1", "t2")
    ],
    "healthy_kirby113/kirby113_MPRAGE",
    "mslub_mni/patient26_FLAIR",
    *[f"mslub_raw/patient{n}_study1_{s}" for n in ("01", "04") for s in ("T1W", "T2W", "FLAIR")],
]


@pytest.mark.parametrize("name", REAL)
def test_real_images_with_air_of_0_are_told_apart(test_data: Path, name):
    path = test_data / f"{name}.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    volume = read_scan(path)
    steps = tuple(max(1, round(2 / mm)) for mm in volume.grid.spacing_mm)
    array = volume.array[tuple(slice(None, None, step) for step in steps)]
    x, y, z = array.shape
    grid = Grid((x, y, z), volume.grid.affine @ np.diag([*steps, 1]))
    head = "raw" in name
    if head:  # air at 0, as defacing leaves it, and the lower third not scanned
        inside = ndimage.binary_closing(array > 0.05 * np.percentile(array, 98), iterations=3)
        labels, _ = ndimage.label(ndimage.binary_fill_holes(inside))
        inside = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
        array = np.where(inside, np.maximum(array, 1e-3), 0)[:, :, z // 3 :]
        grid = Grid((x, y, array.shape[2]), grid.affine)
    signs = skull_signs(array, grid)
    assert signs.nonzero_ml < 2300
    assert signs.stripped != head
