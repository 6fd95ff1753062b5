from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dal_auto.scoring.box_filters import erode, kernel_voxels, mean_filter, minimum_filter

odd = st.sampled_from([1, 3, 5, 7, 9, 15])
kernels = st.tuples(odd, odd, odd)
shapes = st.tuples(*[st.integers(1, 12)] * 3)
seeds = st.integers(0, 2**16)


@pytest.mark.parametrize(
    ("size_mm", "spacing_mm", "expected"),
    [
        (3, (1, 1, 1), (3, 3, 3)),
        (9, (1, 1, 1), (9, 9, 9)),
        (0, (1, 1, 1), (1, 1, 1)),
        (9, (1.43, 1.4, 1.43), (7, 7, 7)),
        (3, (1.43, 1.4, 1.43), (3, 3, 3)),
        (9, (0.5, 1, 4), (19, 9, 3)),  # 18 and 2.25 voxels; of 17 and 19 the larger
        (3, (0.5, 3, 10), (7, 1, 1)),
        (0.4, (1, 1, 1), (1, 1, 1)),
    ],
)
def test_kernels_are_the_nearest_odd_number_of_voxels(size_mm, spacing_mm, expected):
    assert kernel_voxels(size_mm, spacing_mm) == expected


@given(size_mm=st.floats(0, 20), spacing=st.floats(0.3, 5))
def test_no_odd_number_is_nearer(size_mm, spacing):
    chosen, *_ = kernel_voxels(size_mm, (spacing, 1.0, 1.0))
    assert chosen % 2 == 1
    distances = [abs(size_mm / spacing - number) for number in range(1, 101, 2)]
    assert abs(size_mm / spacing - chosen) <= min(distances) + 1e-3


def test_rounding_noise_of_an_affine_does_not_change_a_kernel():
    sizes = {kernel_voxels(3, (1.5 * (1 + noise), 1, 1)) for noise in (-1e-6, 0, 1e-6)}
    assert sizes == {(3, 3, 3)}


@pytest.mark.parametrize(
    ("size_mm", "spacing"), [(-1, 1.0), (float("nan"), 1.0), (3, 0.0), (3, -1.0), (3, float("nan"))]
)
def test_sizes_that_are_none_are_refused(size_mm, spacing):
    with pytest.raises(ValueError, match="no kernel"):
        kernel_voxels(size_mm, (1.0, spacing, 1.0))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shape=shapes, kernel=kernels)
def test_minimum_filter_is_exactly_scipys(seed, shape, kernel):
    volume = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    expected = ndimage.minimum_filter(volume, kernel, mode="reflect")
    np.testing.assert_array_equal(minimum_filter(torch.from_numpy(volume), kernel), expected)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shape=shapes, kernel=kernels)
def test_mean_filter_is_scipys(seed, shape, kernel):
    volume = np.random.default_rng(seed).random(shape, np.float32)
    expected = ndimage.uniform_filter(volume.astype(float), kernel, mode="reflect")
    np.testing.assert_allclose(
        mean_filter(torch.from_numpy(volume), kernel), expected, rtol=2e-6, atol=0
    )


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shape=shapes, kernel=kernels, filled=st.floats(0.5, 1))
def test_erosion_is_scipys_with_no_mask_beyond_the_border(seed, shape, kernel, filled):
    mask = np.random.default_rng(seed).random(shape) < filled
    expected = ndimage.binary_erosion(mask, np.ones(kernel, bool))
    result = erode(torch.from_numpy(mask), kernel)
    assert result.dtype == torch.bool
    np.testing.assert_array_equal(result, expected)


def test_even_kernels_are_refused():
    for function in (minimum_filter, mean_filter, erode):
        with pytest.raises(ValueError, match="odd"):
            function(torch.ones(5, 5, 5), (3, 2, 3))
