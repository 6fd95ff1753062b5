"""The memory bank's parts: a uniform sample, a coreset that covers, exact neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from dal_auto.methods.coreset import Reservoir, greedy_centres, neighbour_distances, projected


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clustered(count: int, length: int = 6, seed: int = 0) -> torch.Tensor:
    """Most points in a dense heap, the others far about: random samples miss the outskirts."""
    points = torch.randn(count, length, generator=seeded(seed))
    points[: count * 9 // 10] *= 0.05
    return points


def covering_radius(points: torch.Tensor, chosen: torch.Tensor) -> float:
    return float(cdist(points.numpy(), points[chosen].numpy()).min(axis=1).max())


# Reservoir


def test_a_reservoir_keeps_all_while_there_is_room():
    found = Reservoir(10, seeded())
    for part in torch.arange(9).split(4):
        found.add(part)
    assert found.seen == 9 and found.items().tolist() == list(range(9))
    assert len(Reservoir(3, seeded()).items()) == 0


def test_every_item_of_a_stream_is_kept_equally_often():
    kept = np.zeros(60)
    for seed in range(600):
        found = Reservoir(15, seeded(seed))
        for part in torch.arange(60).split(7):
            found.add(part)
        items = found.items().numpy()
        assert len(items) == len(set(items)) == 15
        kept[items] += 1
    # A quarter, give or take four standard deviations of 600 draws.
    np.testing.assert_allclose(kept / 600, 0.25, atol=4 * (0.25 * 0.75 / 600) ** 0.5)


# Coreset


def greedy_by_hand(points: np.ndarray, count: int, first: np.ndarray) -> list[int]:
    distances = cdist(points, points)
    nearest, chosen = distances[:, first].mean(axis=1), []
    for _ in range(count):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[:, chosen[-1]])
    return chosen


@pytest.mark.parametrize("starts", [1, 10])
def test_the_coreset_is_that_of_brute_force(starts):
    points = clustered(300)
    first = torch.randperm(300, generator=seeded(3))[:starts].numpy()
    found = greedy_centres(points, 40, starts, seeded(3))
    assert found.tolist() == greedy_by_hand(points.double().numpy(), 40, first)


@pytest.mark.parametrize("seed", range(3))
def test_a_coreset_covers_better_than_random_samples(seed):
    points = clustered(500, seed=seed)
    greedy = covering_radius(points, greedy_centres(points, 50, 10, seeded(seed)))
    samples = [torch.randperm(500, generator=seeded(100 + i))[:50] for i in range(20)]
    assert greedy < min(covering_radius(points, sample) for sample in samples)


def test_no_point_is_chosen_twice_not_even_among_equal_ones():
    assert sorted(greedy_centres(torch.ones(7, 3), 20, 10, seeded()).tolist()) == list(range(7))
    assert greedy_centres(torch.ones(0, 3), 5, 10, seeded()).tolist() == []


def test_a_projection_keeps_distances_nearly():
    points = torch.randn(60, 1000, generator=seeded())
    ratio = torch.pdist(projected(points, 128, seeded(1))) / torch.pdist(points)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02) and ratio.min() > 0.7
    assert torch.equal(projected(points, 8, seeded(2)), projected(points, 8, seeded(2)))


# Search


@pytest.mark.parametrize("neighbours", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_neighbours_are_those_of_a_tree(neighbours, offset):
    """Far from the origin too, where |q|² − 2 q·b + |b|² would lose all digits."""
    bank, queries = (torch.randn(n, 16, generator=seeded(n)) + offset for n in (200, 70))
    distances, _ = cKDTree(bank.double().numpy()).query(
        queries.double().numpy(), k=[*range(1, neighbours + 1)]
    )
    for squared, expected in ((False, distances), (True, distances**2)):
        found = neighbour_distances(queries, bank, neighbours, squared=squared)
        np.testing.assert_allclose(found.numpy(), expected.mean(axis=1), rtol=1e-4)


def test_an_entry_of_the_bank_is_at_distance_0_and_few_entries_are_enough():
    bank = torch.randn(5, 4, generator=seeded()) + 50
    assert (neighbour_distances(bank, bank, 1, squared=True) == 0).all()
    every = cdist(bank[:1].numpy(), bank.numpy()).mean()
    assert float(neighbour_distances(bank[:1], bank, 9, squared=False)) == pytest.approx(
        every, rel=1e-4
    )
    assert neighbour_distances(bank[:0], bank, 1, squared=True).shape == (0,)


def test_queries_in_pieces_find_the_same(monkeypatch):
    bank, queries = torch.randn(50, 8, generator=seeded()), torch.randn(33, 8, generator=seeded(1))
    whole = neighbour_distances(queries, bank, 2, squared=True)
    monkeypatch.setattr("dal_auto.methods.coreset._AT_ONCE", 50 * 4)
    torch.testing.assert_close(neighbour_distances(queries, bank, 2, squared=True), whole)
