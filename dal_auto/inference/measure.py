"""What a mask holds: its components, with size, place and highest score."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from dal_auto import volumes
from dal_auto.case import BoolArray, FloatArray, Grid


def components(mask: BoolArray, score: FloatArray, grid: Grid) -> list[dict[str, Any]]:
    """The 26-connected components of a mask, the largest first.

    Parameters
    ----------
    mask, score : (x, y, z) on `grid`

    Returns
    -------
    for each its volume ``ml``, its centre of mass in the image's world, ``x_mm``, ``y_mm``,
    ``z_mm`` (RAS), and its ``maximum_score``
    """
    box = volumes.box_around(mask)
    if box is None:
        return []
    mask, score = mask[box], score[box]
    labels, sizes = volumes.components(mask)
    numbers = np.arange(1, len(sizes) + 1)
    highest = ndimage.maximum(score, labels, numbers)
    centres = np.array(ndimage.center_of_mass(mask, labels, numbers))
    centres += [part.start for part in box]
    places = centres @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    order = np.lexsort((*places.T, -sizes))
    return [
        {
            "ml": round(float(sizes[i]) * grid.voxel_ml, 4),
            **dict(
                zip(("x_mm", "y_mm", "z_mm"), (round(float(v), 1) for v in places[i]), strict=True)
            ),
            "maximum_score": float(highest[i]),
        }
        for i in order
    ]
