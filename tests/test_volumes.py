"""Boxes, components and measures of overlap, against scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from dal_auto.volumes import (
    block_mean,
    box_around,
    components,
    correlation,
    dice,
    largest_component,
    whole,
)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_it_is_scipys_box_with_a_margin_inside_the_volume(seed, margin):
    mask = np.random.default_rng(seed).random((6, 5, 9)) > 0.99
    found = ndimage.find_objects(mask.astype(np.uint8))
    expected = found and tuple(
        slice(max(0, one.start - margin), min(size, one.stop + margin))
        for one, size in zip(found[0], mask.shape, strict=True)
    )
    assert box_around(mask, margin) == (expected or None)


@pytest.mark.parametrize(("margin", "expected"), [((0, 1, 9), (1, 0, 0)), ((1, 0, 2), (0, 1, 1))])
def test_margins_may_differ_by_axis(margin, expected):
    mask = np.zeros((4, 4, 8), bool)
    mask[1, 1, 3] = True
    assert tuple(side.start for side in box_around(mask, margin)) == expected


def test_all_of_a_volume():
    volume = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(volume[whole(volume.shape)], volume)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.5))
def test_components_and_their_order_are_scipys(seed, share):
    mask = np.random.default_rng(seed).random((7, 6, 9)) < share
    labels, sizes = components(mask)
    expected, count = ndimage.label(mask, np.ones((3, 3, 3)))
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(sizes, np.bincount(expected.ravel(), minlength=count + 1)[1:])


def test_an_empty_mask_has_no_component():
    assert len(components(np.zeros((3, 3, 3), bool))[1]) == 0


@pytest.fixture
def cube() -> np.ndarray:
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 4:16, 4:16] = True
    return mask


def test_islands_go_and_holes_are_filled(cube):
    mask = cube.copy()
    mask[0:2, 0:2, 0:2] = True
    mask[8:11, 8:11, 8:11] = False
    np.testing.assert_array_equal(largest_component(mask), cube)


def test_pieces_that_touch_at_a_corner_are_one(cube):
    mask = cube.copy()
    mask[16, 16, 16] = True
    assert largest_component(mask)[16, 16, 16]


def test_an_empty_mask_stays_empty():
    assert not largest_component(np.zeros((4, 4, 4), bool)).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_piece_is_that_of_scikit_image(seed):
    mask = np.random.default_rng(seed).random((12, 12, 12)) < 0.12
    pieces = label(mask, connectivity=3)
    sizes = np.bincount(pieces.ravel())[1:]
    found = largest_component(mask)
    assert (found & mask).sum() == sizes.max()
    assert label(found, connectivity=3).max() == 1


def test_correlation_is_pearsons_and_zero_without_variation():
    first, second = np.random.default_rng(0).normal(size=(2, 50))
    assert correlation(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert correlation(first, np.ones(50)) == 0
    assert correlation(first[:1], second[:1]) == 0


def test_dice_is_that_of_the_definition():
    first, second = np.random.default_rng(0).random((2, 5, 6, 7)) > 0.6
    expected = 2 * (first & second).sum() / (first.sum() + second.sum())
    assert dice(first, second) == pytest.approx(expected)
    assert dice(first, first) == 1 and dice(first, ~first) == 0
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 0


def test_blocks_are_means_and_what_fills_none_is_dropped():
    array = np.random.default_rng(0).normal(size=(5, 4, 7)).astype(np.float32)
    blocks = block_mean(array, 2)
    assert blocks.shape == (2, 2, 3)
    assert blocks[1, 0, 2] == pytest.approx(array[2:4, 0:2, 4:6].mean(), abs=1e-6)
