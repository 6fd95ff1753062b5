"""The voxels of a volume that count, on every grid that a network uses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Rows:
    """The voxels inside, as rows of a (N·x·y·z, c) table of features.

    Parameters
    ----------
    index : (n,) int64, of all images, one image after the other
    counts : how many are each image's
    """

    index: Tensor
    counts: tuple[int, ...]

    def by_image(self) -> list[slice]:
        """Where each image's rows lie among the n."""
        ends = list(accumulate(self.counts))
        return [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]


class Region:
    """A mask, brought to the grid of any features; each grid is computed once.

    Parameters
    ----------
    mask : (N, 1, x, y, z), 0 or 1
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._grids: dict[tuple[int, ...], Tensor] = {tuple(mask.shape[2:]): mask}
        self._rows: dict[tuple[int, ...], Rows] = {}

    def at(self, features: Tensor) -> Tensor:
        """(N, 1, x', y', z') in the dtype of the mask: a coarse voxel counts where any of its fine
        voxels does.

        Parameters
        ----------
        features : (N, c, x', y', z')
        """
        size = tuple(features.shape[2:])
        if size not in self._grids:
            self._grids[size] = F.adaptive_max_pool3d(self.mask, size)
        return self._grids[size]

    def rows(self, features: Tensor) -> Rows:
        """The same voxels as rows. It waits for the device: for a CPU only."""
        size = tuple(features.shape[2:])
        if size not in self._rows:
            inside = self.at(features).flatten(1) > 0
            index = inside.flatten().nonzero()[:, 0]
            self._rows[size] = Rows(index, tuple(inside.sum(1).tolist()))
        return self._rows[size]


def region_of(mask: Tensor | None) -> Region | None:
    """The region of a mask, where there is one."""
    return None if mask is None else Region(mask)
