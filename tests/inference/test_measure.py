"""Components of a mask, against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label, regionprops

from dal_auto.case import Grid
from dal_auto.inference.measure import components

AFFINE = np.array([[-2.0, 0.3, 0, 40], [0.2, 1.5, 0, -30], [0, 0, 3, 7], [0, 0, 0, 1]])


def test_size_place_and_highest_score_of_each_the_largest_first():
    mask, score = np.zeros((9, 8, 7), bool), np.zeros((9, 8, 7), np.float32)
    mask[1, 1, 1] = mask[2, 2, 2] = True  # touch by a corner
    mask[5:8, 3, 4:6] = True
    score[1, 1, 1], score[6, 3, 5], score[0, 0, 0] = 0.25, 0.75, 9
    grid = Grid(mask.shape, AFFINE)
    large, small = components(mask, score, grid)
    assert large.ml == pytest.approx(6 * grid.voxel_ml, abs=1e-4)
    assert small.ml == pytest.approx(2 * grid.voxel_ml, abs=1e-4)
    assert (large.maximum_score, small.maximum_score) == (0.75, 0.25)
    centre = AFFINE @ [6, 3, 4.5, 1]
    assert [getattr(large, f"{axis}_mm") for axis in "xyz"] == pytest.approx(centre[:3], abs=0.051)


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.4))
def test_number_and_sizes_are_scikit_images(seed, share):
    random = np.random.default_rng(seed)
    mask = random.random((7, 8, 9)) < share
    found = components(mask, random.random(mask.shape), Grid(mask.shape, np.diag([10, 10, 10, 1])))
    expected = sorted((r.area for r in regionprops(label(mask, connectivity=3))), reverse=True)
    assert [one.ml for one in found] == pytest.approx(expected)


def test_an_empty_mask_has_none():
    assert components(np.zeros((3, 4, 5), bool), np.ones((3, 4, 5)), Grid((3, 4, 5), AFFINE)) == []
