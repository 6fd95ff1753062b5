"""What an image's field of view leaves out is told from what is 0 in it."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.preprocessing.coverage import in_words, part_shown
from dal_auto.preprocessing.resampling import field_of_view, resample

TARGET = Grid((40, 48, 36), np.diag([-1.0, -1, 1, 1]))
WORLD = np.stack(np.meshgrid(*map(np.arange, TARGET.shape), indexing="ij"), -1) * [-1, -1, 1]
BRAIN = np.linalg.norm((WORLD - [-20, -24, 18]) / [15, 19, 13], axis=-1) < 1


def shown(image: np.ndarray, grid: Grid, to_image: np.ndarray | None = None) -> np.ndarray | None:
    to_image = np.eye(4) if to_image is None else to_image
    moved = np.where(BRAIN, resample(image, grid, TARGET, to_image), 0)
    return part_shown(image, grid, moved, TARGET, to_image, BRAIN)


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 9, shape).astype(np.float32)


def test_an_image_of_the_whole_brain_shows_all_of_it():
    assert shown(noise(TARGET.shape), TARGET) is None
    assert shown(noise(TARGET.shape) * BRAIN, TARGET) is None


def test_a_slab_shows_what_lies_in_its_box(rigid):
    """On thick slices, turned; the box is known from the affine alone."""
    affine = rigid((5, 0, 90)) @ np.diag([1.2, 0.9, 3.0, 1])
    affine[:3, 3] = [40, -60, 12]
    grid, to_image = Grid((60, 110, 4), affine), rigid((3, -2, 4), (2, 3, 1))
    found = shown(noise(grid.shape), grid, to_image)
    inverse = np.linalg.inv(affine) @ to_image
    index = WORLD @ inverse[:3, :3].T + inverse[:3, 3]
    inside = ((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(-1)
    np.testing.assert_array_equal(field_of_view(grid, TARGET, to_image), inside)
    assert 0.2 < (inside & BRAIN).sum() / BRAIN.sum() < 0.8
    np.testing.assert_array_equal(found, inside & BRAIN)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, 0, 0), (9, -14, 5)])
def test_a_slab_moved_onto_a_larger_grid_is_seen_by_its_content(rigid, degrees):
    turn = rigid(degrees)[:3, :3]
    depth = (WORLD - [-20, -24, 18]) @ turn[:, 2]
    slab = np.abs(depth) <= 5
    found = shown(noise(TARGET.shape) * slab, TARGET)
    assert found is not None
    wrong = found ^ (slab & BRAIN)
    assert not found[BRAIN & (np.abs(depth) > 6.5)].any() and found[slab & BRAIN].all()
    assert wrong.sum() < 0.1 * found.sum(), "the hull's border may hold voxels of 0"


def test_a_cavity_of_zeros_is_shown_and_so_is_fluid_at_the_border():
    image = noise(TARGET.shape) * BRAIN
    image[14:26, 16:30, 10:26] = 0
    assert shown(image, TARGET) is None
    image[:, 40:] = 0
    found = shown(image, TARGET)
    assert found is not None and found[:, :40].sum() == BRAIN[:, :40].sum()
    assert not found[:, 41:].any()


def test_a_thin_slice_of_the_brain_beyond_the_grid_is_not_shown():
    """The top of the head is often cut off: zeros there would be marked as dark lesions."""
    top = int(np.argwhere(BRAIN.any((0, 1)))[-1, 0])
    grid = Grid((40, 48, top), TARGET.affine)
    found = shown(noise(TARGET.shape)[:, :, :top], grid)
    lost = BRAIN[:, :, top:].sum()
    assert 0 < lost < 0.01 * BRAIN.sum()
    assert found is not None and (BRAIN & ~found).sum() == lost


def test_a_rim_of_a_voxel_is_two_brain_masks_and_no_field_of_view():
    smaller = np.linalg.norm((WORLD - [-20, -24, 18]) / [14.97, 18.97, 12.97], axis=-1) < 1
    assert 0 < 1 - smaller.sum() / BRAIN.sum() < 0.01
    assert shown(noise(TARGET.shape) * smaller, TARGET) is None


@pytest.mark.parametrize("filled", [slice(0, 0), slice(18, 19)])
def test_what_has_no_volume_shows_nothing_that_could_be_told(filled):
    image = np.zeros(TARGET.shape, np.float32)
    image[:, :, filled] = 1
    assert shown(image, TARGET) is None


def test_the_share_is_said():
    half = BRAIN & (WORLD[..., 2] < 18)
    (line,) = in_words({"T2": half}, BRAIN)
    assert (
        line == f"T2 shows {half.sum() / BRAIN.sum():.0%} of the brain; nothing is marked elsewhere"
    )
