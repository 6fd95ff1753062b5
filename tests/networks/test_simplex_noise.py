"""Simplex noise against a direct sum over the lattice, and the spectrum of its octaves."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from dal_auto.networks.simplex_noise import Fields, drawn_fields, octave_noise, simplex_noise

CPU = torch.device("cpu")
#: Edges of a cube, numbered as in Perlin's table: (±1, ±1, 0), (±1, 0, ±1), (0, ±1, ±1).
EDGES = [
    *((a, b, 0) for b, a in product((1, -1), repeat=2)),
    *((a, 0, b) for b, a in product((1, -1), repeat=2)),
    *((0, a, b) for b, a in product((1, -1), repeat=2)),
]


def drawn(count: int, octaves: int = 1, seed: int = 0) -> Fields:
    return drawn_fields(count, octaves, CPU, torch.Generator().manual_seed(seed))


def directly(table: list[int], point: np.ndarray) -> float:
    """The noise at a point as a sum over all lattice points near it, whichever its simplex is."""
    middle = np.round(point + point.sum() / 3).astype(int)
    total = 0.0
    for step in product(range(-2, 3), repeat=3):
        corner = middle + step
        offset = point - (corner - corner.sum() / 6)
        kernel = max(0.0, 0.5 - float(offset @ offset))
        i, j, k = (int(c) for c in corner)
        edge = table[(i + table[(j + table[k % 256]) % 256]) % 256] % 12
        total += kernel**4 * float(offset @ EDGES[edge])
    return 76.88 * total


def test_it_is_the_sum_over_the_lattice():
    fields = drawn(2)
    points = np.random.default_rng(0).uniform(-300, 300, (3, 2, 60))
    found = simplex_noise(fields.tables, torch.from_numpy(points)).numpy()
    for n in range(2):
        table = fields.tables[n].tolist()
        expected = [directly(table, points[:, n, m]) for m in range(60)]
        np.testing.assert_allclose(found[n], expected, atol=1e-9)


@pytest.mark.parametrize("corner", [(0, 0, 0), (3, -2, 5)])
def test_it_is_zero_at_lattice_points(corner):
    point = torch.tensor(corner, dtype=torch.float64) - sum(corner) / 6
    assert float(simplex_noise(drawn(1).tables, point[:, None, None]).abs()) < 1e-12


def test_it_keeps_within_one_reaches_it_nearly_and_is_zero_on_average():
    points = 200 * torch.rand(3, 8, 40_000, generator=torch.Generator().manual_seed(1))
    noise = simplex_noise(drawn(8).tables, points)
    assert 0.97 < float(noise.abs().max()) <= 1.0005  # single precision
    assert abs(float(noise.mean())) < 0.01
    assert float(noise.std()) == pytest.approx(0.39, abs=0.01)


def test_the_largest_value_is_one():
    """All four gradients as well as they can be, at the point where that gives most."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], float)
    corners -= corners.sum(axis=1, keepdims=True) / 6
    weights = np.random.default_rng(0).dirichlet(np.ones(4), 20_000)
    weights = np.vstack([weights, [0, 1 / 6, 2 / 3, 1 / 6]])
    offsets = (weights @ corners)[:, None] - corners
    along = np.sort(np.abs(offsets), axis=2)[:, :, 1:].sum(axis=2)
    kernel = np.maximum(0.5 - (offsets**2).sum(axis=2), 0) ** 4
    assert (76.88 * (kernel * along).sum(axis=1)).max() == pytest.approx(1, abs=1e-4)


def power(noise: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean power by frequency in cycles per voxel, under a Hann window."""
    size = noise.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    found = (np.abs(np.fft.fft2(noise[:, 0].numpy() * window)) ** 2).mean(axis=0)
    return found, np.hypot(*np.meshgrid(*[np.fft.fftfreq(size)] * 2))


def mean_frequency(noise: torch.Tensor) -> float:
    found, frequency = power(noise)
    return float((found * frequency).sum() / found.sum())


@pytest.mark.parametrize("cell", [8.0, 16.0, 32.0])
def test_cells_of_half_the_size_have_twice_the_frequency(cell):
    noise = octave_noise(drawn(8), (128, 128), (cell, cell), 1)
    assert mean_frequency(noise) * cell == pytest.approx(0.94, abs=0.04)


def test_cells_follow_the_voxels_of_each_axis():
    fields = drawn(3)
    square = octave_noise(fields, (32, 32), (16, 16), 0.8)
    stretched = octave_noise(fields, (32, 16), (16, 8), 0.8)
    torch.testing.assert_close(stretched, square[..., ::2], rtol=0, atol=2e-5)


@pytest.mark.parametrize("persistence", [0.8, 0.5])
def test_power_falls_with_frequency_as_the_octaves_say(persistence):
    """Variances add up, since octaves know nothing of each other; and each has its own band."""
    octaves, cell = 4, 24.0
    noise = octave_noise(drawn(32, octaves), (96, 96), (cell, cell), persistence)
    one = 0.39**2
    expected = one * sum(persistence ** (2 * n) for n in range(octaves))
    assert float(noise.square().mean()) == pytest.approx(expected, rel=0.08)
    # Mean frequencies 1, 2, 4, 8 times the first's, weighted by the power of each.
    powers = np.array([persistence ** (2 * n) for n in range(octaves)])
    mean = 0.94 / cell * float(powers @ 2.0 ** np.arange(octaves)) / powers.sum()
    assert mean_frequency(noise) == pytest.approx(mean, rel=0.06)
    found, frequency = power(noise)
    bands = [
        found[(frequency >= low) & (frequency < 2 * low)].mean() for low in (0.02, 0.04, 0.08, 0.16)
    ]
    assert bands == sorted(bands, reverse=True)


def test_it_is_bounded_by_the_sum_of_the_amplitudes():
    noise = octave_noise(drawn(4, 3), (64, 64), (16, 16), 0.5)
    assert noise.shape == (4, 1, 64, 64) and noise.dtype == torch.float32
    assert float(noise.abs().max()) <= 1 + 0.5 + 0.25
    assert abs(float(noise.mean())) < 0.1


def test_a_seed_decides_and_each_slice_has_its_own():
    first, again, other = (
        octave_noise(drawn(3, 2, seed), (24, 24), (8, 8), 0.8) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    similar = np.corrcoef(torch.cat([first, other]).flatten(1).numpy())
    assert np.abs(similar - np.eye(6)).max() < 0.4


def test_tables_are_permutations():
    fields = drawn(5, 2)
    assert (fields.tables.sort(dim=1).values == torch.arange(256)).all()
    assert fields.shifts.shape == (5, 2, 3)
