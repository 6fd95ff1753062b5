"""Slices side by side: rows are images, columns are methods, or the steps of one method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from dal_auto.figures.curves import DPI
from dal_auto.figures.panels import COLOUR_MAPS, INK
from dal_auto.figures.view import CONTOUR

_CELL, _ROW, _LEFT, _TOP, _GAP = 1.25, 1.5, 0.55, 0.5, 0.04  # inches; a brain is longer than wide
_BETWEEN = 0.14  # inches between cases of a strip
_MARGIN = 4  # voxels around the brain
#: Slices are 8 bits; scores are scaled to each map's largest, as in the paper's Fig. 2.
_LARGEST = 255


@dataclass(frozen=True, eq=False)
class Slice:
    """One cell of the grid.

    Parameters
    ----------
    picture : (x, y) 8 bits, x → left, y → posterior
    kind : "image" (grey) or "score" (magma)
    """

    picture: npt.NDArray[np.uint8]
    kind: Literal["image", "score"]


def comparison_figure(
    rows: Mapping[str, Mapping[str, Slice]],
    columns: Sequence[str],
    outlines: Mapping[str, npt.NDArray[np.uint8]],
    title: str,
) -> Figure:
    """A grid of axial slices, the patient's right on the left; the lesion outlined in the first.

    Parameters
    ----------
    rows : title of the row → title of the column → slice; a column that a row lacks stays black
    columns : from left to right
    outlines : title of the row → lesion (x, y), drawn over the row's first slice
    title : heading of the figure
    """
    width = _LEFT + len(columns) * (_CELL + _GAP)
    height = _TOP + max(len(rows), 1) * (_ROW + _GAP)
    figure, axes = _canvas(width, height)
    style: dict[str, Any] = {"color": INK, "fontsize": 8, "va": "center", "parse_math": False}
    axes.text(0.06, 0.14, title, ha="left", **(style | {"fontsize": 10}))
    lefts = {name: _LEFT + number * (_CELL + _GAP) for number, name in enumerate(columns)}
    for name, left in lefts.items():
        axes.text(left + _CELL / 2, 0.37, name, ha="center", **(style | {"fontsize": 7.5}))
    for number, (name, row) in enumerate(rows.items()):
        top = _TOP + number * (_ROW + _GAP)
        axes.text(_LEFT / 2, top + _ROW / 2, name, ha="center", rotation=90, **style)
        box = _around([one.picture for one in row.values() if one.kind == "image"])
        for column in (column for column in columns if column in row):
            outline = outlines.get(name) if column == columns[0] else None
            _draw(axes, (lefts[column], top), row[column], box, outline, f"{name}, {column}")
    return figure


def strip_figure(
    cases: Mapping[str, Mapping[str, Slice]], outlines: Mapping[str, npt.NDArray[np.uint8]]
) -> Figure:
    """Cases beside each other in one row, each with its slices; for the top of a page.

    Parameters
    ----------
    cases : title of the case → title of the slice → slice
    outlines : title of the case → lesion (x, y), drawn over the case's first slice
    """
    most = max(map(len, cases.values()), default=1)
    step = most * (_CELL + _GAP) + _BETWEEN
    figure, axes = _canvas(_BETWEEN + max(len(cases), 1) * step, _TOP + _ROW + _BETWEEN)
    style: dict[str, Any] = {"color": INK, "va": "center", "parse_math": False}
    for number, (name, slices) in enumerate(cases.items()):
        left = _BETWEEN + number * step
        axes.text(left, 0.16, name, ha="left", fontsize=8, **style)
        box = _around([one.picture for one in slices.values() if one.kind == "image"])
        for place, (title, one) in enumerate(slices.items()):
            corner = (left + place * (_CELL + _GAP), _TOP)
            axes.text(corner[0] + _CELL / 2, 0.37, title, ha="center", fontsize=7.5, **style)
            outline = None if place else outlines.get(name)
            _draw(axes, corner, one, box, outline, f"{name}, {title}")
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A black figure with one pair of axes in inches from the top left: one per slice would take
    most of the time."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", autoscale_on=False)
    return figure, axes


def _draw(
    axes: Axes,
    corner: tuple[float, float],
    one: Slice,
    box: tuple[slice, slice],
    outline: npt.NDArray[np.uint8] | None,
    name: str,
) -> None:
    """Put a slice into the cell at `corner`, as large as it fits."""
    picture = one.picture[box].T
    voxel = min(_CELL / picture.shape[1], _ROW / picture.shape[0])
    left = corner[0] + (_CELL - voxel * picture.shape[1]) / 2
    top = corner[1] + (_ROW - voxel * picture.shape[0]) / 2
    right, bottom = left + voxel * picture.shape[1], top + voxel * picture.shape[0]
    drawn = axes.imshow(
        picture,
        cmap=COLOUR_MAPS[one.kind],
        vmin=0,
        vmax=_LARGEST,
        interpolation="nearest",
        extent=(left, right, bottom, top),
    )
    drawn.set_label(name)
    if outline is not None and outline[box].any():
        x = left + voxel * (np.arange(picture.shape[1]) + 0.5)
        y = top + voxel * (np.arange(picture.shape[0]) + 0.5)
        axes.contour(x, y, outline[box].T, levels=[0.5], colors=CONTOUR, linewidths=0.9)


def _around(pictures: Sequence[npt.NDArray[np.uint8]]) -> tuple[slice, slice]:
    """The box of what is not black in the first picture, with a margin."""
    found = ndimage.find_objects((pictures[0] > 0).astype(np.uint8)) if pictures else []
    if not found:
        return slice(None), slice(None)
    x, y = (slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN) for part in found[0])
    return x, y
