"""A case in three orthogonal views: input, pseudo-healthy image, anomaly map, lesion mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.figures.view import CONTOUR, Volume, view_point
from dal_auto.volumes import box_around, whole

INK = "#d8d8d8"
# 96 steps each: no eye sees them, and a panel's colours fit into the palette of `save_png`.
COLOUR_MAPS = {
    kind: colormaps[name].resampled(96)
    for kind, name in {
        "image": "gray",
        "edges": "gray",
        "score": "magma",
        "labels": "cividis",
    }.items()
}

DPI = 100
WIDTH, LEFT, RIGHT, GAP, TITLE, HEADER = 9.0, 0.32, 0.62, 0.06, 0.34, 0.24  # inches
CROP_MARGIN_MM = 4.0


def three_view_panel(
    volumes: Sequence[Volume],
    *,
    spacing_mm: tuple[float, float, float],
    mask: BoolArray | None = None,
    title: str,
) -> Figure:
    """Rows of volumes, seen in a sagittal, a coronal and an axial plane through `view_point`.

    Radiological convention: the patient's right is on the picture's left. Superior is up in the
    sagittal (anterior to the left) and coronal planes, anterior is up in the axial plane.
    Everything is cropped to the brain and drawn at one scale in mm, 900 pixels wide.

    Parameters
    ----------
    volumes : rows from top to bottom, all of one shape
    spacing_mm : voxel size along x, y, z
    mask : (x, y, z) lesion voxels, outlined over the first image and over the scores
    title : heading of the panel

    Raises
    ------
    ValueError
        without volumes, or if the shapes differ.
    """
    shapes = {np.shape(volume.array) for volume in volumes}
    if mask is not None:
        shapes.add(mask.shape)
    if not volumes or len(shapes) != 1:
        raise ValueError(f"a panel wants volumes of one shape, not {sorted(shapes)}")
    arrays = [np.nan_to_num(np.asarray(volume.array, np.float32)) for volume in volumes]
    kinds = [volume.kind for volume in volumes]
    first_image = arrays[kinds.index("image")] if "image" in kinds else np.zeros_like(arrays[0])
    score = arrays[kinds.index("score")] if "score" in kinds else None
    brain = first_image > 0 if "image" in kinds else np.any([a != 0 for a in arrays], axis=0)
    point = view_point(mask, score, brain)

    shown = brain if mask is None else brain | mask
    margins = [int(np.ceil(CROP_MARGIN_MM / mm)) for mm in spacing_mm]
    box = box_around(shown, margins) or whole(shown.shape)
    centre = tuple(p - part.start for p, part in zip(point, box, strict=True))
    size_mm = [(part.stop - part.start) * mm for part, mm in zip(box, spacing_mm, strict=True)]
    widths_mm = (size_mm[1], size_mm[0], size_mm[0])
    heights_mm = (size_mm[2], size_mm[2], size_mm[1])
    scale = (WIDTH - LEFT - RIGHT - 2 * GAP) / sum(widths_mm)  # inches per mm
    row_height = max(heights_mm) * scale + GAP
    height = TITLE + HEADER + row_height * len(volumes)

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="black")
    _write(figure, LEFT, height - 0.6 * TITLE, title, fontsize=11, ha="left")
    given = volumes[kinds.index("image")].vmax if "image" in kinds else None
    window = _window(first_image, "image") if given is None else given
    contour = None if mask is None else _planes(mask[box], centre)
    under = _planes(first_image[box], centre)
    for row, (volume, array) in enumerate(zip(volumes, arrays, strict=True)):
        middle = height - TITLE - HEADER - row_height * (row + 0.5)
        _write(figure, LEFT / 2, middle, volume.title, fontsize=9, rotation=90)
        vmax = volume.vmax
        if vmax is None:
            vmax = window if volume.kind == "image" else _window(array, volume.kind)
        outlined = volume.kind == "score" or array is first_image
        left = LEFT
        for column, (name, picture) in enumerate(_planes(array[box], centre).items()):
            width, depth = widths_mm[column] * scale, heights_mm[column] * scale
            axes = figure.add_axes(
                (left / WIDTH, (middle - depth / 2) / height, width / WIDTH, depth / height),
                label=f"{volume.title}, {name}",
            )
            across, down = {"sagittal": (1, 2), "coronal": (0, 2), "axial": (0, 1)}[name]
            aspect = spacing_mm[down] / spacing_mm[across]
            if volume.kind == "labels":
                _show(axes, under[name], "image", 2 * window, aspect)
                picture = np.ma.masked_less_equal(picture, 0)
            drawn = _show(axes, picture, volume.kind, vmax, aspect)
            if outlined and contour is not None and contour[name].any():
                axes.contour(contour[name], levels=[0.5], colors=CONTOUR, linewidths=1.1)
            _mark_sides(axes, "AP" if name == "sagittal" else "RL")
            if row == 0:
                where = f"{name.capitalize()}, {'xyz'[column]} = {point[column]}"
                _write(figure, left + width / 2, height - TITLE - HEADER / 2, where, fontsize=8)
            left += width + GAP
        if volume.kind == "score":
            _colour_bar(figure, drawn, (left + 0.02, middle, 0.6 * row_height), height)
    return figure


def _planes(
    array: npt.NDArray[np.generic], point: tuple[int, ...]
) -> dict[str, npt.NDArray[np.generic]]:
    """The three planes through `point` as pictures (row from the top, column from the left)."""
    x, y, z = point
    return {
        "sagittal": array[x, :, ::-1].T,
        "coronal": array[:, y, ::-1].T,
        "axial": array[:, :, z].T,
    }


def _show(
    axes: Axes, picture: npt.NDArray[np.generic], kind: str, vmax: float, aspect: float
) -> AxesImage:
    # Voxels stay voxels: interpolation would invent detail, and doubles the size of the file.
    return axes.imshow(
        picture, cmap=COLOUR_MAPS[kind], vmin=0, vmax=vmax, aspect=aspect, interpolation="nearest"
    )


def _window(array: FloatArray, kind: str) -> float:
    """Value shown brightest: a percentile of the positive voxels, since maxima are outliers."""
    positive = array[array > 0]
    if not positive.size:
        return 1.0
    return float(np.percentile(positive, 99.5) if kind in ("image", "score") else positive.max())


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write `text` at (x, y) in inches from the lower left corner."""
    width, height = figure.get_size_inches()
    defaults: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "parse_math": False}
    figure.text(x / width, y / height, text, **(defaults | style))


def _mark_sides(axes: Axes, letters: str) -> None:
    axes.set_axis_off()
    style: dict[str, Any] = {
        "color": INK,
        "fontsize": 8,
        "va": "center",
        "transform": axes.transAxes,
    }
    axes.text(0.02, 0.95, letters[0], ha="left", **style)
    axes.text(0.98, 0.95, letters[1], ha="right", **style)


def _colour_bar(
    figure: Figure, drawn: AxesImage, place: tuple[float, float, float], figure_height: float
) -> None:
    """Small vertical bar; `place` is left, middle and length in inches."""
    left, middle, length = place
    axes = figure.add_axes(
        (left / WIDTH, (middle - length / 2) / figure_height, 0.1 / WIDTH, length / figure_height)
    )
    vmax = float(drawn.get_clim()[1])  # type: ignore[arg-type]
    bar = figure.colorbar(drawn, cax=axes, extend="max")  # brighter scores look like vmax
    bar.set_ticks([0, vmax / 2, vmax], labels=["0", f"{vmax / 2:.2g}", f"{vmax:.2g}"])
    bar.outline.set_visible(False)
    axes.tick_params(colors=INK, labelsize=8, length=2, pad=2)
