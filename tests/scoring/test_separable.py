from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.scoring.separable import correlate, gaussian_kernel, mean_and_variance


@pytest.mark.parametrize("lengths", [(1, 3, 5), (7, 1, 1), (9, 9, 9), (1, 1, 1), (25, 3, 13)])
def test_correlates_as_scipy_even_where_the_kernel_is_wider_than_the_volume(lengths):
    random = np.random.default_rng(0)
    volume = random.random((2, 9, 8, 7), np.float32)
    kernels = [random.random(length).tolist() for length in lengths]
    expected = volume.astype(float)
    for axis, weights in zip((1, 2, 3), kernels, strict=True):
        expected = ndimage.correlate1d(expected, weights, axis, mode="reflect")
    result = correlate(torch.from_numpy(volume), kernels)
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-6)


def test_leaves_its_input_alone():
    volume = torch.rand(4, 5, 6)
    before = volume.clone()
    correlate(volume, [[2.0]] * 3).zero_()
    assert torch.equal(volume, before)


@pytest.mark.parametrize(("sigma", "truncate"), [(1.5, 3.5), (1.0, 3.5), (0.7, 4.0)])
def test_gaussian_is_scipys(sigma, truncate):
    impulse = np.zeros(41)
    impulse[20] = 1
    expected = ndimage.gaussian_filter1d(impulse, sigma, truncate=truncate)
    np.testing.assert_allclose(gaussian_kernel(sigma, truncate), expected[expected > 0], rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1.0, 1000.0])
def test_mean_and_variance_keep_their_digits_at_any_level(level):
    random = np.random.default_rng(0)
    # Steps of 1/64 are exact in float32 at every level here.
    volume = (level + random.integers(0, 64, (2, 12, 10, 9)) / 64).astype(np.float32)
    weights = gaussian_kernel(1.5, 3.5)
    mean, variance = mean_and_variance(torch.from_numpy(volume), weights)
    wide = torch.from_numpy(volume - level).double()
    expected_mean = correlate(wide, [weights] * 3)
    expected_variance = correlate(wide**2, [weights] * 3) - expected_mean**2
    np.testing.assert_allclose(mean, expected_mean + level, rtol=1e-6)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-5 if level < 10 else 1e-3)


def test_a_constant_has_hardly_any_variance_and_never_a_negative_one():
    _, variance = mean_and_variance(torch.full((8, 8, 8), 0.9), gaussian_kernel(1.5, 3.5))
    assert variance.min() >= 0
    assert variance.max() < 1e-12
