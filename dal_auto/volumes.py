"""The box around what is marked in a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dal_auto.case import BoolArray

Box = tuple[slice, slice, slice]


def box_around(mask: BoolArray, margin: int | Sequence[int] = 0) -> Box | None:
    """The smallest box that holds all voxels of `mask`; None where there are none.

    Parameters
    ----------
    mask : (x, y, z)
    margin : voxels more on either side, of all axes or of each, as far as the volume reaches
    """
    margins = [margin] * 3 if isinstance(margin, int) else margin
    sides = []
    for axis, (size, more) in enumerate(zip(mask.shape, margins, strict=True)):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if not filled.size:
            return None
        sides.append(slice(max(0, int(filled[0]) - more), min(size, int(filled[-1]) + 1 + more)))
    return sides[0], sides[1], sides[2]


def whole(shape: Sequence[int]) -> Box:
    """The box that is all of a volume."""
    x, y, z = (slice(0, size) for size in shape)
    return x, y, z
