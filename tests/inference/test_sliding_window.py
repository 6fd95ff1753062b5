"""Stitching: what a network that does nothing gives back, and that no voxel is left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.inference.sliding_window import tile, window_shares, window_starts
from dal_auto.planning.memory import ByteCount

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
    result = tile(network, volume, window=window, overlap=0.5, at_once=4)
    assert calls[0] is volume and len(calls) == 1
    assert result.dtype == torch.float32 and torch.equal(result, volume.half().float())


def normalising_network() -> torch.nn.Module:
    """Normalised over the window, as DAL's are: it sees which window it is given."""
    torch.manual_seed(0)
    layers = (torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.GroupNorm(4, 4), torch.nn.ReLU())
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(4, 2, 1)).requires_grad_(False)


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(*[st.integers(6, 14)] * 3),
    window=st.tuples(*[st.integers(5, 10)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    at_once=st.integers(2, 9),
)
def test_how_many_windows_go_at_once_changes_nothing(size, window, overlap, at_once):
    network, volume, seen = normalising_network(), noise(1, 1, *size), []

    def counting(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return network(x)

    one_by_one = tile(network, volume, window=window, overlap=overlap)
    together = tile(counting, volume, window=window, overlap=overlap, at_once=at_once)
    torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-5)
    assert max(seen) <= at_once and seen.count(max(seen)) >= len(seen) - 2, "two rounds"
    again = tile(network, volume, window=window, overlap=overlap, at_once=at_once)
    assert torch.equal(again, together), "the same bits from run to run"


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(*[st.integers(6, 14)] * 3),
    window=st.tuples(*[st.integers(5, 10)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    at_once=st.integers(1, 5),
)
def test_instance_normalisation_is_that_of_the_whole_volume(size, window, overlap, at_once):
    """Of a network that sees one voxel at a time, nothing else depends on the windows."""
    torch.manual_seed(1)
    layers = [torch.nn.Conv3d(1, 3, 1), torch.nn.GroupNorm(3, 3), torch.nn.ReLU()]
    layers += [torch.nn.Conv3d(3, 4, 1), torch.nn.GroupNorm(4, 4)]
    network = torch.nn.Sequential(*layers, torch.nn.Conv3d(4, 2, 1)).requires_grad_(False)
    for layer in (layers[1], layers[4]):
        torch.nn.init.uniform_(layer.weight)
        torch.nn.init.uniform_(layer.bias)
    volume = noise(1, 1, *size) * torch.linspace(0, 3, size[0])[:, None, None] + 5
    stitched = tile(network, volume, window=window, overlap=overlap, at_once=at_once)
    torch.testing.assert_close(stitched, network(volume), rtol=1e-4, atol=1e-4)


def test_normalisation_over_groups_of_channels_is_left_as_it_is():
    norm, calls = torch.nn.GroupNorm(1, 2), itertools.count()

    def network(x: torch.Tensor) -> torch.Tensor:
        next(calls)
        return norm(x)

    tile(network, noise(1, 2, 12, 4, 4), window=(8, 4, 4), overlap=0.5)
    assert next(calls) == 2, "each window once"


def peak_bytes(size: tuple[int, int, int], at_once: int, window: int = 16) -> int:
    """The most that lives while a volume is tiled, the volume and what is stitched left out."""
    with ByteCount() as count, torch.device("meta"):
        network = torch.nn.Sequential(
            torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.Conv3d(8, 2, 3, padding=1)
        ).requires_grad_(False)
        volume = torch.empty(1, 1, *size)
        tile(network, volume, window=(window,) * 3, overlap=0.5, at_once=at_once)
    return count.peak - 3 * volume.nbytes


def test_memory_is_bounded_by_the_windows_and_not_by_the_volume():
    channel = 16**3 * 4
    small, large = (peak_bytes((n, 24, 24), 2) for n in (24, 240))
    # Ten times the volume: what grows are the shares along one axis, a few numbers a window.
    assert large - small < channel / 4
    # Of two windows: one channel in, eight between, two out, one of shares; and the filters.
    assert small < (2 * 12 + 1) * channel
    assert peak_bytes((48, 24, 24), 4) - peak_bytes((48, 24, 24), 2) > 2 * 8 * channel


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


def test_shares_are_those_of_a_gaussian_about_the_windows_middle():
    starts = window_starts(40, 16, 0.5)
    shares = window_shares(40, 16, starts).double().numpy()
    weights = np.zeros((len(starts), 40))
    for row, start in enumerate(starts):
        x = np.arange(16) - 7.5
        weights[row, start : start + 16] = np.exp(-0.5 * (x / 2) ** 2)  # σ = 16/8
    weights /= weights.sum(axis=0)
    for row, start in enumerate(starts):
        np.testing.assert_allclose(shares[row], weights[row, start : start + 16], atol=1e-6)


@given(size=SIZES, window=SIZES, overlap=OVERLAPS)
def test_shares_sum_to_1_at_every_voxel(size, window, overlap):
    window = min(size, window)
    starts = window_starts(size, window, overlap)
    total = np.zeros(size)
    for start, share in zip(starts, window_shares(size, window, starts).numpy(), strict=True):
        assert np.isfinite(share).all() and (share >= 0).all()
        total[start : start + window] += share
    np.testing.assert_allclose(total, 1, atol=1e-6)
