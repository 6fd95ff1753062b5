"""Boxes, components, block means and overlaps of volumes; on acvl-utils where it has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from acvl_utils.cropping_and_padding.bounding_boxes import (
    bounding_box_to_slice,
    get_bbox_from_mask,
    pad_bbox,
)
from acvl_utils.morphology.morphology_helper import cc3d_label_with_component_sizes
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray

Box = tuple[slice, slice, slice]


def box_around(mask: BoolArray, margin: int | Sequence[int] = 0) -> Box | None:
    """The smallest box that holds all voxels of `mask`; None where there are none.

    Parameters
    ----------
    mask : (x, y, z)
    margin : voxels more on either side, of all axes or of each, as far as the volume reaches
    """
    if not mask.any():
        return None
    margins = margin if isinstance(margin, int) else list(margin)
    x, y, z = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(mask), margins, mask.shape))
    return x, y, z


def whole(shape: Sequence[int]) -> Box:
    """The box that is all of a volume."""
    x, y, z = (slice(0, size) for size in shape)
    return x, y, z


def components(mask: BoolArray) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """26-connected components, numbered in the order of their first voxels.

    Returns
    -------
    labels : (x, y, z) int, 0 outside
    sizes : voxels of each label from 1 on
    """
    labels, sizes = cc3d_label_with_component_sizes(np.asarray(mask, bool), connectivity=26)
    return labels, np.fromiter(sizes.values(), np.int64, len(sizes))


def largest_component(mask: BoolArray, further_from: float = np.inf) -> BoolArray:
    """The largest 26-connected component, the first of equals, its holes filled.

    Parameters
    ----------
    further_from : components of as many voxels are kept beside it
    """
    box = box_around(mask)
    if box is None:
        return mask
    labels, sizes = components(mask[box])
    kept = sizes >= further_from
    kept[sizes.argmax()] = True
    largest = np.zeros(mask.shape, bool)
    # What touches the box from within is open to what lies around it: the same holes are filled.
    largest[box] = ndimage.binary_fill_holes(np.append(False, kept)[labels])
    return largest


def block_mean(array: FloatArray | BoolArray, size: int) -> FloatArray:
    """Mean of every block of size³ voxels; what is left over at the far ends is dropped."""
    x, y, z = (length // size for length in array.shape)
    cut = np.asarray(array[: x * size, : y * size, : z * size], np.float32)
    # Axis by axis: several times faster than all at once.
    for axis, length in enumerate((x, y, z)):
        shape = (*cut.shape[:axis], length, size, *cut.shape[axis + 1 :])
        cut = cut.reshape(shape).mean(axis=axis + 1)
    return cut


def dice(first: BoolArray, second: BoolArray) -> float:
    """Twice the common voxels by those of both masks; 0 where both are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * int(np.count_nonzero(first & second)) / max(int(total), 1)


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson's, and 0 where one of the two is constant."""
    if first.size < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
