"""A network over a volume in overlapping windows, stitched with Gaussian weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from dal_auto.plans import Shape


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one axis: evenly spread, the last one flush with the end."""
    if size <= window:
        return [0]
    count = -(-(size - window) // max(1, round(window * (1 - overlap)))) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


def gaussian_weights(window: Shape, device: torch.device) -> Tensor:
    """(x, y, z) weights, largest in the middle; σ is an eighth of the window, as in nnU-Net."""
    weights = torch.ones((), device=device)
    for size in window:
        x = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
        weights = weights[..., None] * torch.exp(-0.5 * (x / (size / 8)).square())
    return weights.clamp(min=float(weights.max()) * 1e-4)


def tile(
    network: Callable[[Tensor], Tensor], volume: Tensor, *, window: Shape, overlap: float
) -> Tensor:
    """Run `network` over `volume`; where one window covers it, this is one plain call.

    Parameters
    ----------
    network : (1, C, window) → (1, C', window)
    volume : (1, C, x, y, z)
    window, overlap : voxels, and the least share of a window that its neighbour covers too

    Returns
    -------
    (1, C', x, y, z) float32
    """
    size = tuple(volume.shape[2:])
    if all(s <= w for s, w in zip(size, window, strict=True)):
        return network(volume)
    window = tuple(min(s, w) for s, w in zip(size, window, strict=True))  # type: ignore[assignment]
    weights = gaussian_weights(window, volume.device)
    total, norm = None, torch.zeros(size, device=volume.device)
    starts = [window_starts(s, w, overlap) for s, w in zip(size, window, strict=True)]
    for start in itertools.product(*starts):
        box = tuple(slice(a, a + w) for a, w in zip(start, window, strict=True))
        result = network(volume[(slice(None), slice(None), *box)]).float()
        if total is None:
            total = torch.zeros(1, result.shape[1], *size, device=volume.device)
        total[(slice(None), slice(None), *box)] += result * weights
        norm[box] += weights
    assert total is not None, "a volume has at least one window"
    return total / norm
