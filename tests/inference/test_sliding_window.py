"""Stitching: what a network that does nothing gives back, and that no voxel is left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.inference.sliding_window import gaussian_weights, tile, window_starts

SIZES = st.integers(1, 60)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9])


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@given(size=SIZES, window=SIZES, overlap=OVERLAPS)
def test_every_voxel_lies_in_a_window_and_no_window_reaches_outside(size, window, overlap):
    window = min(size, window)
    starts = window_starts(size, window, overlap)
    assert starts == sorted(set(starts))
    assert (starts[0], starts[-1]) == (0, size - window)
    covered = np.zeros(size, int)
    for start in starts:
        covered[start : start + window] += 1
    assert covered.min() >= 1


@given(size=SIZES, window=SIZES, overlap=OVERLAPS)
def test_neighbouring_windows_overlap_at_least_as_much_as_asked(size, window, overlap):
    steps = np.diff(window_starts(size, min(size, window), overlap))
    assert steps.max(initial=1) <= max(1, round(min(size, window) * (1 - overlap)))


def test_a_window_larger_than_the_axis_starts_at_0():
    assert window_starts(20, 32, 0.5) == [0]


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(*[st.integers(5, 13)] * 3),
    window=st.tuples(*[st.integers(3, 9)] * 3),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
)
def test_identity_and_constant_networks_are_stitched_exactly(size, window, overlap):
    volume = noise(1, 2, *size)
    same = tile(lambda x: x, volume, window=window, overlap=overlap)
    torch.testing.assert_close(same, volume, rtol=1e-5, atol=1e-6)
    constant = tile(lambda x: torch.full_like(x[:, :1], 0.3), volume, window=window, overlap=0.5)
    assert constant.shape == (1, 1, *size)
    torch.testing.assert_close(constant, torch.full((1, 1, *size), 0.3), rtol=1e-5, atol=0)


def test_windows_have_the_shape_asked_for_or_the_volumes_where_it_is_smaller():
    seen = set()

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(x.shape))
        return x

    tile(network, noise(1, 1, 20, 7, 16), window=(8, 10, 16), overlap=0.5)
    assert seen == {(1, 1, 8, 7, 16)}


@pytest.mark.parametrize("window", [(8, 9, 10), (16, 16, 16)])
def test_a_volume_in_one_window_is_one_plain_call(window):
    calls = []

    def network(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x.half()

    volume = noise(1, 3, 8, 9, 10)
    result = tile(network, volume, window=window, overlap=0.5)
    assert calls[0] is volume and len(calls) == 1
    assert torch.equal(result, volume.half()), "not even converted"


def test_where_windows_disagree_the_one_whose_centre_is_nearer_counts_more():
    calls = itertools.count()
    stitched = tile(
        lambda x: torch.full_like(x, next(calls)),
        noise(1, 1, 12, 4, 4),
        window=(8, 4, 4),
        overlap=0.5,
    )[0, 0, :, 0, 0]
    # Two windows, of 0 and of 1: [0, 8) and [4, 12).
    assert next(calls) == 2
    assert (stitched.diff() >= 0).all()
    torch.testing.assert_close(stitched[:4], torch.zeros(4))
    torch.testing.assert_close(stitched[8:], torch.ones(4))
    torch.testing.assert_close(stitched + stitched.flip(0), torch.ones(12))
    assert stitched[5] < 0.5 < stitched[6]


def test_half_precision_results_are_added_up_in_single():
    volume = noise(1, 1, 40, 4, 4)
    result = tile(lambda x: x.bfloat16(), volume, window=(8, 4, 4), overlap=0.5)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, volume.bfloat16().float(), rtol=1e-6, atol=1e-6)


def test_weights_are_a_gaussian_that_never_vanishes():
    weights = gaussian_weights((16, 24, 8), torch.device("cpu"))
    assert weights.shape == (16, 24, 8)
    for axis in range(3):
        torch.testing.assert_close(weights, weights.flip(axis))
    assert weights.min() >= 1e-4 * weights.max()
    ratio = weights[7, 11, 3] / weights[7 - 4, 11, 3]  # σ = 2 voxels along x, from 0.5 to 4.5
    assert float(ratio) == pytest.approx(np.exp(0.5 * (4.5**2 - 0.5**2) / 2**2), rel=1e-5)
