"""What a picture of a case shows, and through which voxel; without matplotlib, slow to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dal_auto.case import BoolArray, FloatArray
from dal_auto.volumes import components

CONTOUR = "#56B4E9"  # Okabe and Ito's sky blue is seen on grey and magma alike


@dataclass(frozen=True, eq=False)
class Volume:
    """One row of a panel.

    Parameters
    ----------
    title : what it is
    array : (x, y, z), axes LPS (x → left, y → posterior, z → superior)
    kind : "image" (grey), "score" (magma, with a colour bar), "labels" (> 0, over the first image,
        dimmed), "edges" (grey)
    vmax : value shown brightest; None: for images that of the first image, else its 99.5th
        percentile of positive values, so that input and pseudo-healthy image compare; for scores
        their own 99.5th percentile; for the others the maximum
    """

    title: str
    array: npt.NDArray[np.generic]
    kind: Literal["image", "score", "labels", "edges"]
    vmax: float | None = None


def view_point(
    mask: BoolArray | None, score: FloatArray | None, brain: BoolArray
) -> tuple[int, int, int]:
    """Voxel through which a case is shown.

    The voxel of the largest lesion component (26-neighbours) that is nearest to the component's
    centre of mass, which itself may lie outside a ring or a crescent. Without lesion voxels the
    maximum of `score`; without a positive score the brain's centre of mass, or the array's middle.

    Parameters
    ----------
    mask, score, brain : (x, y, z)
    """
    if mask is not None and mask.any():
        labels, sizes = components(mask)
        voxels = np.argwhere(labels == sizes.argmax() + 1)
        nearest = np.argmin(np.square(voxels - voxels.mean(axis=0)).sum(axis=1))
        x, y, z = voxels[nearest]
    elif score is not None and np.nanmax(score, initial=0) > 0:
        x, y, z = np.unravel_index(np.nanargmax(score), score.shape)
    elif brain.any():
        x, y, z = np.argwhere(brain).mean(axis=0).round()
    else:
        x, y, z = (length // 2 for length in brain.shape)
    return int(x), int(y), int(z)
