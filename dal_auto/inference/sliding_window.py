"""A network over a volume in overlapping windows, stitched with Gaussian weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dal_auto.case import Shape
from dal_auto.inference.whole_statistics import WholeStatistics

Box = tuple[slice, slice, slice]


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one axis: evenly spread, the last one flush with the end."""
    if size <= window:
        return [0]
    count = -(-(size - window) // max(1, round(window * (1 - overlap)))) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


def window_shares(size: int, window: int, starts: Sequence[int]) -> Tensor:
    """(window, voxel) float32: what each window counts along one axis; 1 in all at every voxel.

    A Gaussian about the window's middle, σ an eighth of the window as in nnU-Net, over the sum of
    all windows' Gaussians. The Gaussian of three axes is the product of those of one, and so is the
    sum over a lattice of windows: the stitched volume needs no division and no second volume.
    """
    x = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    gaussian = torch.exp(-0.5 * (x / (window / 8)).square())
    total = torch.zeros(size, dtype=torch.float64)
    for start in starts:
        total[start : start + window] += gaussian
    return torch.stack([gaussian / total[start : start + window] for start in starts]).float()


@torch.no_grad()
def tile(
    network: Callable[[Tensor], Tensor],
    volume: Tensor,
    *,
    window: Shape,
    overlap: float,
    at_once: int = 1,
) -> Tensor:
    """Run `network` over `volume`; where one window covers it, this is one plain call.

    Instance normalisation takes the whole volume's statistics (`WholeStatistics`), so that the
    windows differ from the whole near their borders only. Beside the volume and the result, memory
    is that of `at_once` windows, however large the volume. Nothing waits for the device.

    Parameters
    ----------
    network : (N, C, window) → (N, C', window), N ≤ `at_once`; called several times for each window
    volume : (1, C, x, y, z)
    window, overlap : voxels, and the least share of a window that its neighbour covers too
    at_once : windows in one call

    Returns
    -------
    (1, C', x, y, z) float32
    """
    size = tuple(volume.shape[2:])
    if all(s <= w for s, w in zip(size, window, strict=True)):
        return network(volume).float()
    window = tuple(min(s, w) for s, w in zip(size, window, strict=True))  # type: ignore[assignment]
    starts = [window_starts(s, w, overlap) for s, w in zip(size, window, strict=True)]
    shares = [
        window_shares(s, w, begin).to(volume.device, non_blocking=True)
        for s, w, begin in zip(size, window, starts, strict=True)
    ]
    places = list(itertools.product(*(range(len(begin)) for begin in starts)))
    statistics = WholeStatistics()
    while True:
        total: Tensor | None = None
        for first in range(0, len(places), at_once):
            batch = places[first : first + at_once]
            boxes = [_box(place, starts, window) for place in batch]
            weights = torch.stack([_weights(place, shares) for place in batch])
            results = statistics.run(
                network, torch.cat([volume[(..., *box)] for box in boxes]), weights[:, None]
            )
            if results is None:
                continue
            if total is None:
                total = torch.zeros(1, results.shape[1], *size, device=volume.device)
            for i, box in enumerate(boxes):
                total[(0, slice(None), *box)].addcmul_(results[i].float(), weights[i])
            del results  # or they would live beside those of the next call
        if not statistics.close_layer():
            assert total is not None, "a volume has at least one window"
            return total


def _weights(place: Sequence[int], shares: Sequence[Tensor]) -> Tensor:
    """(x, y, z) what the voxels of one window count."""
    x, y, z = (share[i] for share, i in zip(shares, place, strict=True))
    return x[:, None, None] * y[:, None] * z


def _box(place: Sequence[int], starts: Sequence[Sequence[int]], window: Shape) -> Box:
    x, y, z = (
        slice(begin[i], begin[i] + size)
        for i, begin, size in zip(place, starts, window, strict=True)
    )
    return x, y, z
