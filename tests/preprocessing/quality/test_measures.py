"""Measures against what they are to measure: shifts, fields and information that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import normalized_mutual_info_score

from dal_auto.case import Grid
from dal_auto.images import read_image
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.quality.measures import (
    LEAK_MM,
    alignment,
    atlas_on_grid,
    masked_block_mean,
    normalised_mutual_information,
    residual_bias,
)
from dal_auto.preprocessing.resampling import resample
from dal_auto.volumes import block_mean

SHAPE = (72, 80, 64)
MIDDLE = (np.array(SHAPE) - 1) / 2


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    """A brain: an ellipsoid of 24, 28 and 22 voxels' half axes in the middle of the array."""
    index = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.linalg.norm((index - MIDDLE) / (28, 32, 25), axis=-1) < 1


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    """Structure of some millimetres, in [0, 1]; the same at every call."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 3)
    return (noise - noise.min()) / np.ptp(noise)


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`image` after a rigid (4, 4) motion, in voxels about the array's middle."""
    centred = np.eye(4)
    centred[:3, 3] = MIDDLE
    whole = centred @ matrix @ np.linalg.inv(centred)
    return resample(image, Grid(SHAPE, np.eye(4)), Grid(SHAPE, np.eye(4)), whole)


def displacement_mm(matrix: np.ndarray, brain: np.ndarray) -> float:
    points = np.argwhere(brain) - MIDDLE
    return np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1).mean()


def other_contrast(texture: np.ndarray) -> np.ndarray:
    """Another sequence of the same tissue: neither linear nor monotonous in the first."""
    return 1.2 - texture + 0.4 * np.sin(9 * texture)


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [
        ((0, 0, 0), (3, 0, 0)),
        ((0, 0, 0), (0, -2, 2)),
        ((5, 0, 0), (0, 0, 0)),
        ((2, -3, 4), (1, 2, -2)),
    ],
)
def test_a_misalignment_is_measured_in_mm_across_contrasts(
    ball, texture, rigid: Callable[..., np.ndarray], degrees, shift
):
    matrix = rigid(degrees, shift)
    second = np.where(ball, moved(other_contrast(texture), matrix), 0)
    found = alignment(np.where(ball, texture, 0), second, ball, 1.0)
    assert found is not None
    assert found[1] == pytest.approx(displacement_mm(matrix, ball), abs=0.3)


def test_aligned_sequences_stay_where_they_are_and_inform_each_other_most(ball, texture, rigid):
    first, second = np.where(ball, texture, 0), np.where(ball, other_contrast(texture), 0)
    well = alignment(first, second, ball, 1.0)
    badly = alignment(first, moved(second, rigid((0, 0, 0), (3, 0, 0))), ball, 1.0)
    assert well is not None
    assert badly is not None
    assert well[1] < 0.15
    assert well[0] > 1.5 * badly[0]


def test_distances_are_in_mm_and_not_in_voxels(ball, texture, rigid):
    matrix = rigid((0, 0, 0), (2, 0, 0))
    second = np.where(ball, moved(other_contrast(texture), matrix), 0)
    found = alignment(np.where(ball, texture, 0), second, ball, 1.5)
    assert found is not None
    assert found[1] == pytest.approx(3.0, abs=0.3)


def test_sequences_that_have_nothing_in_common_do_not_pass_for_aligned(ball, texture):
    other = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), 3)
    found = alignment(np.where(ball, texture, 0), np.where(ball, other + 1, 0), ball, 1.0)
    assert found is not None
    assert found[0] < 0.05


def test_equal_images_give_equal_alignment(ball, texture):
    pair = np.where(ball, texture, 0), np.where(ball, moved(texture, np.eye(4)), 0)
    assert alignment(*pair, ball, 1.0) == alignment(*pair, ball, 1.0)


def test_too_small_a_brain_is_not_measured(texture):
    tiny = np.zeros(SHAPE, bool)
    tiny[30:36, 30:36, 30:36] = True
    assert alignment(texture, texture, tiny, 1.0) is None
    assert residual_bias(texture, tiny, tiny) is None


def test_constant_images_have_an_alignment_without_information(ball):
    assert alignment(ball * 1.0, ball * 2.0, ball, 1.0) == (0.0, 0.0)


@pytest.mark.parametrize("shift_mm", [0.0, 3.0])
def test_a_real_pair_is_told_from_one_that_is_3_mm_off(test_data: Path, shift_mm):
    paths = [test_data / "mslub_mni" / f"patient26_{name}.nii.gz" for name in ("T1", "T2")]
    (first, grid), (second, _) = map(read_image, paths)
    brain = ndimage.binary_fill_holes(first > 0)
    matrix = np.eye(4)
    matrix[1, 3] = shift_mm
    second = resample(second, grid, grid, matrix)
    found = alignment(np.where(brain, first, 0), np.where(brain, second, 0), brain, 1.0)
    assert found is not None
    assert found[1] < 1.0 if shift_mm == 0 else 2.0 < found[1] < 4.0


@pytest.mark.parametrize("amplitude", [0.0, 0.05, 0.15])
def test_the_field_that_is_left_is_measured(ball, amplitude):
    noise = 1 + 0.02 * np.random.default_rng(0).normal(size=SHAPE)
    x, y, z = np.indices(SHAPE) - MIDDLE[:, None, None, None]
    log_field = amplitude * (x / 28 - 0.6 * (y / 32) ** 2 + 0.4 * x * z / 700)
    found = residual_bias((300 * noise * np.exp(log_field)).astype(np.float32), ball, ball)
    assert found == pytest.approx(log_field[ball].std(), rel=0.05, abs=0.001)


def test_neither_a_lesion_nor_other_tissue_passes_for_a_field(ball):
    image = np.full(SHAPE, 300.0, np.float32)
    image[40:52, 30:50, 20:40] = 700  # an oedema on a T2
    image[30:40, 30:40, 40:50] = 150
    assert residual_bias(image, ball, ball) == pytest.approx(0, abs=0.003)


def test_mutual_information_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=5000)
    second = np.cos(5 * first) + 0.3 * rng.normal(size=5000)

    def bins(values: np.ndarray) -> np.ndarray:
        low, high = np.percentile(values, [0.5, 99.5])
        return np.clip(np.floor((values - low) / (high - low) * 16), 0, 15)

    assert normalised_mutual_information(first, second) == pytest.approx(
        normalized_mutual_info_score(bins(first), bins(second)), abs=1e-3
    )
    assert normalised_mutual_information(first, first) == pytest.approx(1)


def test_blocks_are_means_of_cubes_and_the_rest_is_dropped():
    array = np.random.default_rng(0).normal(size=(5, 4, 7)).astype(np.float32)
    blocks = block_mean(array, 2)
    assert blocks.shape == (2, 2, 3)
    assert blocks[1, 0, 2] == pytest.approx(array[2:4, 0:2, 4:6].mean(), abs=1e-6)
    mask = np.zeros(array.shape, bool)
    mask[2:4, 0:2, 4] = True
    mask[0, 0, 0] = True
    mean, inside = masked_block_mean(array, mask, 2)
    assert mean[1, 0, 2] == pytest.approx(array[2:4, 0:2, 4].mean(), abs=1e-6)
    assert list(zip(*np.nonzero(inside), strict=True)) == [(1, 0, 2)]


def test_the_atlas_comes_with_its_surroundings_and_its_white_matter(atlas: Atlas):
    found = atlas_on_grid(atlas, (160, 224, 160))
    assert found is atlas_on_grid(atlas, (160, 224, 160))
    target = centre_crop_or_pad(ATLAS_GRID, (160, 224, 160))
    assert found.brain.sum() == (resample(atlas.image, ATLAS_GRID, target, np.eye(4)) > 0).sum()
    assert 300 < found.white.sum() / 1000 < 500  # ml: the atlas's brain has about 1450
    far_mm = 2 * ndimage.distance_transform_edt(block_mean(found.brain, 2) < 0.5)
    assert far_mm[found.far].min() > LEAK_MM
    assert far_mm[~found.far].max() <= LEAK_MM
