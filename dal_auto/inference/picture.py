"""The picture of a map: input, pseudo-healthy image and scores in three views, the mask outlined.

Like `figures.panels`, but at two pixels a voxel and straight into a palette: a tenth of the time,
which counts where every case gets one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.figures.view import CONTOUR, view_point
from dal_auto.store.atomic import replacing
from dal_auto.volumes import box_around, whole

Pixels = npt.NDArray[np.uint8]

#: The palette: greys, then the scores' colours, then the outline's.
_GREYS, _COLOURS = 128, 120
_OUTLINE = _GREYS + _COLOURS
_SCALE = 2  # pixels a voxel
_GAP, _LEFT, _RIGHT, _TOP, _TEXT = 6, 24, 64, 52, 15  # pixels
_MARGIN = 4  # voxels
_INK, _BAR = 216, 12


@dataclass(frozen=True, eq=False)
class Row:
    """A volume as it is drawn: (x, y, z) on the standard grid, its least value black.

    Parameters
    ----------
    scores : drawn in colours, with a bar; else in greys
    outlined : the mask's outline is drawn over it
    """

    title: str
    volume: FloatArray
    white: float
    scores: bool = False
    outlined: bool = False


def draw_map(
    path: Path,
    title: str,
    *,
    image: FloatArray,
    pseudo_healthy: FloatArray | None,
    score: FloatArray,
    mask: BoolArray,
) -> None:
    """Write the picture of one sequence as PNG, whole or not at all; equal maps give equal bytes.

    Sagittal (front on the left), coronal and axial (the patient's right on the left), through the
    largest component of the mask, or where there is none through the highest score.

    Parameters
    ----------
    image, pseudo_healthy : in [0, 1]
    score, mask : all (x, y, z) on the standard grid of 1 mm, axes LPS
    """
    positive = score[score > 0]
    rows = [Row("input", image, 1.0, outlined=True)]
    if pseudo_healthy is not None:
        rows.append(Row("pseudo-healthy", pseudo_healthy, 1.0))
    white = float(np.percentile(positive, 99.5)) if positive.size else 1.0
    rows.append(Row("anomaly map", score, white, scores=True, outlined=True))
    pixels = _compose(title, rows, mask, _point(image, score, mask))
    picture = Image.fromarray(pixels, mode="P")
    picture.putpalette(_palette())
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")


def _point(image: FloatArray, score: FloatArray, mask: BoolArray) -> tuple[int, int, int]:
    """Voxel that the views pass through, searched for in no more than the mask's box."""
    box = box_around(mask)
    if box is None:
        return view_point(None, score, image > 0)
    x, y, z = view_point(mask[box], None, mask[box])
    return x + box[0].start, y + box[1].start, z + box[2].start


def _compose(
    title: str, rows: Sequence[Row], mask: BoolArray, point: tuple[int, int, int]
) -> Pixels:
    """Indices into the palette."""
    brain = rows[0].volume > 0
    box = box_around(brain, _MARGIN) or whole(brain.shape)
    width, depth, height = (_SCALE * (part.stop - part.start) for part in box)
    widths, tall = (depth, width, width), max(height, depth)
    lefts = [_LEFT, _LEFT + widths[0] + _GAP, _LEFT + widths[0] + widths[1] + 2 * _GAP]
    size = (lefts[2] + widths[2] + _RIGHT, _TOP + len(rows) * (tall + _GAP))
    canvas = np.zeros(size[::-1], np.uint8)
    written = _text(size, title, rows, point, (lefts, widths, tall))
    canvas[:] = written // (256 // _GREYS)
    for number, row in enumerate(rows):
        middle = _TOP + number * (tall + _GAP) + tall // 2
        outline = _planes(mask, point, box) if row.outlined else {}
        for (plane, values), left in zip(
            _planes(row.volume, point, box).items(), lefts, strict=True
        ):
            top = middle - values.shape[0] // 2
            place = canvas[top : top + values.shape[0], left : left + values.shape[1]]
            drawn = _indices(np.asarray(values, np.float32), row)
            np.copyto(place, drawn, where=drawn > 0)
            if row.outlined:
                inside = outline[plane]
                place[inside & ~ndimage.binary_erosion(inside, iterations=_SCALE)] = _OUTLINE
        if row.scores:
            bar = np.linspace(_OUTLINE - 1, _GREYS, tall // 2).astype(np.uint8)
            left = lefts[2] + widths[2] + _GAP
            canvas[middle - tall // 4 : middle - tall // 4 + bar.size, left : left + _BAR] = bar[
                :, None
            ]
    return canvas


def _indices(values: FloatArray, row: Row) -> Pixels:
    """Palette indices of a plane; 0 where there is nothing to draw."""
    steps = _COLOURS if row.scores else _GREYS
    level = np.clip(np.nan_to_num(values) / row.white, 0, 1) * (steps - 1)
    indices = level.astype(np.uint8)
    return np.where(values > 0, indices + _GREYS, 0).astype(np.uint8) if row.scores else indices


def _planes(
    volume: npt.NDArray[np.generic], point: tuple[int, int, int], box: Sequence[slice]
) -> Mapping[str, npt.NDArray[np.generic]]:
    """The three planes through `point`, row from the top, two pixels a voxel."""
    x, y, z = point
    planes = {
        "sagittal": volume[x, box[1], box[2]][:, ::-1].T,
        "coronal": volume[box[0], y, box[2]][:, ::-1].T,
        "axial": volume[box[0], box[1], z].T,
    }
    return {name: plane.repeat(_SCALE, 0).repeat(_SCALE, 1) for name, plane in planes.items()}


def _text(
    size: tuple[int, int],
    title: str,
    rows: Sequence[Row],
    point: tuple[int, int, int],
    places: tuple[Sequence[int], Sequence[int], int],
) -> Pixels:
    """What is written, as greys."""
    (lefts, widths, tall), font = places, _font()
    page = Image.new("L", size)
    draw = ImageDraw.Draw(page)
    draw.text((_LEFT, 6), title, _INK, font)
    for axis, plane in enumerate(("sagittal", "coronal", "axial")):
        middle = lefts[axis] + widths[axis] // 2
        place = f"{plane}, {'xyz'[axis]} = {point[axis]}"
        draw.text((middle, 38), place, _INK, font, anchor="mm")
        sides = "AP" if plane == "sagittal" else "RL"
        for number in range(len(rows)):
            top = _TOP + number * (tall + _GAP) + 2
            draw.text((lefts[axis] + 2, top), sides[0], _INK, font)
            draw.text((lefts[axis] + widths[axis] - 12, top), sides[1], _INK, font)
    for number, row in enumerate(rows):
        middle = _TOP + number * (tall + _GAP) + tall // 2
        label = Image.new("L", (tall, _LEFT - 4))
        ImageDraw.Draw(label).text((tall // 2, _LEFT // 2 - 2), row.title, _INK, font, anchor="mm")
        page.paste(label.rotate(90, expand=True), (0, middle - tall // 2))
        if row.scores:
            left = lefts[2] + widths[2] + _GAP + _BAR + 4
            draw.text((left, middle - tall // 4), f"{row.white:.2g}", _INK, font, anchor="lm")
            draw.text((left, middle + tall // 4), "0", _INK, font, anchor="lm")
    return np.asarray(page)


def _font() -> ImageFont.FreeTypeFont:
    """matplotlib's: Pillow's own has no letters with accents, as cases' names may have."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / "DejaVuSans.ttf", _TEXT)


def _palette() -> bytes:
    greys = np.linspace(0, 255, _GREYS).astype(np.uint8)[:, None].repeat(3, 1)
    colours = colormaps["magma"](np.linspace(0, 1, _COLOURS), bytes=True)[:, :3]
    outline = np.frombuffer(bytes.fromhex(CONTOUR[1:]), np.uint8)[None]
    return np.concatenate([greys, colours, outline]).astype(np.uint8).tobytes()
