"""Background told from content: whatever was added, the image comes back up to scale and level."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.errors import InputError
from dal_auto.images import read_mask, read_scan, read_volume

AFFINE = np.diag([2.0, 2, 2, 1])


def head() -> np.ndarray:
    """A ball of 1 to 1000 in air of 0, without a voxel of 0 inside."""
    x, y, z = (np.ogrid[-20:20, -21:21, -19:19][axis] / 17 for axis in range(3))
    radius = np.sqrt(x * x + y * y + z * z)
    texture = np.random.default_rng(1).uniform(0.9, 1, radius.shape)
    return np.where(radius < 1, 1 + 999 * texture * (1 - radius), 0).astype(np.float32)


def noisy() -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, 6, (2, *head().shape))
    return np.hypot(head() + noise[0], noise[1]).astype(np.float32)


def z_scores(array: np.ndarray, where: np.ndarray) -> np.ndarray:
    return ((array - array[where].mean()) / array[where].std()).astype(np.float32)


HEAD, NOISY = head(), noisy()
BRAIN = HEAD > 0
EVERYWHERE = np.ones_like(BRAIN)
MOVED = {
    "offset": (HEAD - 32768, "its background is -32768"),
    "offset, noise": (NOISY - 32768, "air is about -327"),
    "z-scores of a head": (z_scores(HEAD, EVERYWHERE), "all values are moved"),
    "z-scores of a head, noise": (z_scores(NOISY, EVERYWHERE), "air is about -"),
    "z-scores of a brain": (np.where(BRAIN, z_scores(HEAD, BRAIN), 0), "lie below its background"),
    "z-scores, -9 outside": (np.where(BRAIN, z_scores(HEAD, BRAIN), -9), "moved above 0"),
    "z-scores, NaN outside": (np.where(BRAIN, z_scores(HEAD, BRAIN), np.nan), "NaN: they become 0"),
    "filled with -1024": (np.where(BRAIN, HEAD, -1024), "far below all else: it becomes 0"),
    "filled with NaN": (np.where(BRAIN, HEAD, np.nan), "around it are NaN"),
    "a level": (HEAD + 500, "its background is 500"),
}


def scan(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array.astype(np.float32), AFFINE), path)
    return path


@pytest.mark.parametrize("margin", [7, 8])
def test_z_scores_of_a_brain_that_fills_its_box_are_not_cut_at_0(tmp_path, margin):
    """Most voxels of the box's faces are brain: 0 is the background all the same."""
    box = (slice(margin, -margin),) * 3
    brain = BRAIN[box]
    faces = np.concatenate([brain.take([0, -1], axis).ravel() for axis in range(3)])
    assert faces.mean() > 0.5
    found = read_scan(scan(tmp_path / "a.nii", np.where(BRAIN, z_scores(HEAD, BRAIN), 0)[box]))
    assert any("lie below its background of 0" in str(one) for one in found.oddities)
    assert not found.array[~brain].any()
    assert (found.array[brain] > 0).all()
    assert np.corrcoef(found.array[brain], HEAD[box][brain])[0, 1] > 0.9999


def test_air_with_noise_about_0_in_a_padded_image_is_left_to_clipping(tmp_path):
    """Such as a scan that was turned, with 0 where nothing was measured."""
    array = HEAD + np.random.default_rng(3).normal(0, 6, HEAD.shape).astype(np.float32)
    array[:, :, :6] = 0
    found = read_scan(scan(tmp_path / "a.nii", array))
    np.testing.assert_array_equal(found.array, array)
    assert found.oddities == ()


@pytest.mark.parametrize("kind", MOVED)
def test_a_level_is_taken_off_and_nothing_else(tmp_path, kind):
    array, words = MOVED[kind]
    found = read_scan(scan(tmp_path / "a.nii", array))
    truth = NOISY if "noise" in kind else HEAD
    assert any(words in str(one) for one in found.oddities)
    assert found.array.min() == 0
    if "noise" not in kind:
        np.testing.assert_array_equal(found.array > 0, BRAIN)
    slope, level = np.polyfit(truth[BRAIN], found.array[BRAIN], 1)
    fitted = slope * truth[BRAIN] + level
    np.testing.assert_allclose(found.array[BRAIN], fitted, atol=0.01 * np.ptp(fitted))
    assert abs(level) < 0.02 * np.ptp(fitted)


@pytest.mark.parametrize("kind", ["plain", "noise", "ringing", "real-valued noise"])
def test_what_is_as_it_should_be_is_not_touched(tmp_path, kind):
    array = {"plain": HEAD, "noise": NOISY, "ringing": HEAD.copy(), "real-valued noise": None}[kind]
    if kind == "ringing":  # as cubic interpolation leaves it
        array[17:19, 20, 19] = -15
    if array is None:
        array = HEAD + np.random.default_rng(3).normal(0, 6, HEAD.shape).astype(np.float32)
    found = read_scan(scan(tmp_path / "a.nii", array))
    np.testing.assert_array_equal(found.array, array.astype(np.float32))
    assert found.oddities == ()


def test_content_on_both_sides_of_noisy_air_is_refused(tmp_path):
    signed = np.where(HEAD > 300, HEAD, -HEAD) + np.random.default_rng(3).normal(0, 6, HEAD.shape)
    with pytest.raises(
        InputError, match=r"of its voxels are below 0, down to -.* air that is about"
    ):
        read_scan(scan(tmp_path / "a.nii", signed))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_inside_the_image_is_refused_with_its_count(tmp_path, value):
    array = np.where(BRAIN, HEAD, np.nan if np.isinf(value) else 0)
    array[18:21, 20, 19] = value
    with pytest.raises(InputError, match="3 of them inside the image"):
        read_volume(scan(tmp_path / "a.nii", array))


def test_nan_around_a_mask_is_outside_it(tmp_path):
    array = np.where(HEAD > 500, 1, np.nan)
    mask, _ = read_mask(scan(tmp_path / "a.nii", array))
    np.testing.assert_array_equal(mask, HEAD > 500)
