"""A memory bank: vectors drawn from a stream, thinned to a coreset, searched for neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

#: Distances held at once while searching: 64 MB.
_AT_ONCE = 1 << 24


class Reservoir:
    """A uniform sample of a stream, however long it is (Vitter 1985, algorithm R).

    Parameters
    ----------
    capacity : how many are kept
    generator : on the CPU; decides which
    """

    def __init__(self, capacity: int, generator: torch.Generator) -> None:
        self.capacity, self.generator = capacity, generator
        self.seen = 0
        self._kept: Tensor | None = None

    def add(self, items: Tensor) -> None:
        """Offer (n, …) items, always of the same shape and type; the kept ones lie on the CPU."""
        if not len(items):
            return
        if self._kept is None:
            self._kept = torch.empty(self.capacity, *items.shape[1:], dtype=items.dtype)
        order = self.seen + torch.arange(len(items))
        drawn = torch.rand(len(items), generator=self.generator, dtype=torch.float64)
        slots = torch.where(order < self.capacity, order, (drawn * (order + 1)).long())
        # Of two items for one slot the later one stays, as if they had come one by one.
        last = {slot: item for item, slot in enumerate(slots.tolist()) if slot < self.capacity}
        chosen = torch.tensor(list(last.values()), dtype=torch.long)
        taken = items[chosen.to(items.device)].cpu()
        self._kept[torch.tensor(list(last), dtype=torch.long)] = taken
        self.seen += len(items)

    def items(self) -> Tensor:
        """(n, …): all that were offered, or as many of them as are kept; (0,) of none."""
        if self._kept is None:
            return torch.empty(0)
        return self._kept[: min(self.seen, self.capacity)]


def projected(vectors: Tensor, dimension: int, generator: torch.Generator) -> Tensor:
    """(n, d) → (n, `dimension`): a random Gaussian projection, which keeps distances nearly.

    Johnson & Lindenstrauss; `sklearn.random_projection.GaussianRandomProjection` is the same.
    """
    matrix = torch.randn(vectors.shape[1], dimension, generator=generator) / dimension**0.5
    return vectors @ matrix.to(vectors)


def greedy_centres(points: Tensor, count: int, starts: int, generator: torch.Generator) -> Tensor:
    """Greedy k-centre: each time the point that is farthest from those chosen.

    Parameters
    ----------
    points : (n, d)
    starts : before any is chosen, a point is as far away as it is from so many random points, in
        the mean; so the published code begins (it calls that approximate)

    Returns
    -------
    (min(count, n),) indices, each once
    """
    count = min(count, len(points))
    chosen = torch.empty(count, dtype=torch.long, device=points.device)
    if not count:
        return chosen
    first = torch.randperm(len(points), generator=generator)[:starts].to(points.device)
    squares = points.square().sum(dim=1)
    nearest = torch.cdist(points, points[first]).mean(dim=1).square()
    for number in range(count):
        farthest = nearest.argmax()[None]  # stays on the device: nobody waits for it
        chosen[number : number + 1] = farthest
        centre = points.index_select(0, farthest)[0]
        distances = (squares + squares.index_select(0, farthest)).addmv_(points, centre, alpha=-2)
        nearest = torch.minimum(nearest, distances).index_fill_(0, farthest, -torch.inf)
    return chosen


def neighbour_distances(queries: Tensor, bank: Tensor, neighbours: int, *, squared: bool) -> Tensor:
    """Mean distance of each query to its nearest entries of the bank.

    Parameters
    ----------
    queries, bank : (n, d) and (m, d)
    neighbours : how many; at most m are there
    squared : mean of the squared Euclidean distances

    Returns
    -------
    (n,) ≥ 0
    """
    count = min(neighbours, len(bank))
    centre = bank.mean(dim=0)
    # Differences of large numbers lose digits: around the mean they are small.
    shifted = bank - centre
    half = shifted.square().sum(dim=1) / 2
    found = []
    for some in queries.split(max(1, _AT_ONCE // len(bank))):
        # |q − b|² = |q|² − 2 (q·b − |b|²/2): the nearest have the largest of these.
        near = torch.addmm(half, some - centre, shifted.T, beta=-1).topk(count, dim=1).indices
        distances = torch.stack([(some - bank[one]).square().sum(dim=1) for one in near.T], dim=1)
        found.append((distances if squared else distances.sqrt()).mean(dim=1))
    return torch.cat(found) if found else queries.new_zeros(0)
