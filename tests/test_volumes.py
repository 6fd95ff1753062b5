"""Boxes against scipy's find_objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dal_auto.volumes import box_around, whole


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
