"""The voxels of a volume that count, on every grid that a network uses."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


class Region:
    """A mask, brought to the grid of any features; each grid is computed once.

    Parameters
    ----------
    mask : (N, 1, x, y, z), 0 or 1
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._grids: dict[tuple[int, ...], Tensor] = {tuple(mask.shape[2:]): mask}

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


def region_of(mask: Tensor | None) -> Region | None:
    """The region of a mask, where there is one."""
    return None if mask is None else Region(mask)
