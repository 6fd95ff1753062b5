"""A small picture of a case for looking through many: slices with outlines, one pixel per voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.volumes import box_around, whole

Scalar = TypeVar("Scalar", bound=np.generic)

MARGIN, GAP = 6, 4  # pixels
_INK = (216, 216, 216)


@dataclass(frozen=True, eq=False)
class Outline:
    """The edge of a mask, drawn over every slice.

    Parameters
    ----------
    mask : (x, y, z) bool
    colour : red, green, blue, each 0 to 255
    dashed : so that it is told from another on the same edge, and without its colour
    """

    mask: BoolArray
    colour: tuple[int, int, int]
    dashed: bool = False


def mosaic(
    images: Mapping[str, FloatArray],
    brain: BoolArray,
    outlines: Sequence[Outline],
    rows: Sequence[tuple[str, str, tuple[int, int, int]]],
) -> Image.Image:
    """Rows of three slices: sagittal (anterior on the left), coronal and axial (right on the left).

    Everything is cropped to the masks of `outlines`, the same part in every row. Black is 0 and
    white the 99th percentile inside the brain.

    Parameters
    ----------
    images : name → (x, y, z), axes LPS (x → left, y → posterior, z → superior)
    brain : (x, y, z) bool
    outlines : drawn in this order, later ones on top
    rows : from top to bottom: label, name of an image, voxel that its slices pass through
    """
    outlined = np.any([outline.mask for outline in outlines], axis=0)
    box = box_around(outlined, MARGIN) or whole(outlined.shape)
    white = {name: _white(images[name], brain) for _, name, _ in rows}
    strips = []
    for _, name, point in rows:
        pictures = []
        for plane, values in _slices(images[name], point, box).items():
            grey = np.clip(np.nan_to_num(values) / white[name], 0, 1) * 255
            colour = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
            for outline in outlines:
                edge = _edge(_slices(outline.mask, point, box)[plane])
                colour[edge & _dashes(edge.shape) if outline.dashed else edge] = outline.colour
            pictures.append(colour)
        strips.append(_side_by_side(pictures))
    picture = Image.fromarray(np.concatenate(strips))
    draw = ImageDraw.Draw(picture)
    for number, (label, _, _) in enumerate(rows):
        top, left = number * strips[0].shape[0] + 2, 3
        draw.text((left, top), label, fill=_INK)
        for side, width in zip("ARR", _widths(box), strict=True):
            draw.text((left, top + strips[0].shape[0] - 18), side, fill=_INK)
            left += width + GAP
    return picture


def _widths(box: tuple[slice, slice, slice]) -> tuple[int, int, int]:
    """Pixels across the sagittal, coronal and axial pictures."""
    x, y = (part.stop - part.start for part in box[:2])
    return y, x, x


def _slices(
    array: npt.NDArray[Scalar], point: tuple[int, int, int], box: tuple[slice, slice, slice]
) -> dict[str, npt.NDArray[Scalar]]:
    """The three slices through `point` as pictures (row from the top, column from the left)."""
    x, y, z = point
    in_x, in_y, in_z = box
    return {
        "sagittal": array[x, in_y, in_z][:, ::-1].T,
        "coronal": array[in_x, y, in_z][:, ::-1].T,
        "axial": array[in_x, in_y, z].T,
    }


def _white(image: FloatArray, brain: BoolArray) -> float:
    values = image[brain]
    values = values[np.isfinite(values)]
    return max(float(np.percentile(values, 99)), 1e-6) if values.size else 1.0


def _edge(mask: BoolArray) -> BoolArray:
    return mask & ~ndimage.binary_erosion(mask)


def _dashes(shape: tuple[int, ...]) -> BoolArray:
    """Where a dashed line is drawn: stripes across, 4 pixels on and 4 off along any direction."""
    row, column = np.indices(shape)
    return (row + 2 * column) // 4 % 2 == 0


def _side_by_side(pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Pictures in a row, centred to one height, a gap between them and below."""
    height = max(picture.shape[0] for picture in pictures)
    columns = []
    for picture in pictures:
        above = (height - picture.shape[0]) // 2
        below = height - picture.shape[0] - above + GAP
        columns.append(np.pad(picture, ((above, below), (0, GAP), (0, 0))))
    return np.concatenate(columns, axis=1)
