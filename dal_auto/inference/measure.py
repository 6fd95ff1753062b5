"""What a mask holds: its components, with size, place and highest score."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dal_auto import volumes
from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.store.kept import Kept


class Component(Kept):
    """A connected piece of a mask.

    Parameters
    ----------
    ml : its volume
    x_mm, y_mm, z_mm : its centre of mass in the image's world, RAS
    maximum_score : its highest score
    """

    ml: float
    x_mm: float
    y_mm: float
    z_mm: float
    maximum_score: float


def components(mask: BoolArray, score: FloatArray, grid: Grid) -> list[Component]:
    """The 26-connected components of a mask, the largest first.

    Parameters
    ----------
    mask, score : (x, y, z) on `grid`
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
        Component(
            ml=round(float(sizes[i]) * grid.voxel_ml, 4),
            x_mm=round(float(places[i][0]), 1),
            y_mm=round(float(places[i][1]), 1),
            z_mm=round(float(places[i][2]), 1),
            maximum_score=float(highest[i]),
        )
        for i in order
    ]
