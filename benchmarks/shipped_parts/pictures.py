"""A picture per group: image, anatomy, edges, restored image and score of each of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from dal_auto.case import FloatArray, StandardCase
from dal_auto.inference.predictor import Prediction

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_COLUMNS = ("image", "anatomy", "edges", "restored", "score")
_WHOLE_BRAIN_SLICE = 80
_TITLE_INCHES = 0.25


@dataclass(frozen=True, eq=False)
class Row:
    """Axial slices of one image, (x, y) each.

    Parameters
    ----------
    lesion : bool
    threshold : the score's practical threshold: the colours end at three times of it
    """

    title: str
    slices: tuple[FloatArray, ...]
    lesion: np.ndarray
    threshold: float


def row_of(title: str, case: StandardCase, found: Prediction, threshold: float) -> Row:
    """The slice with the most lesion."""
    lesion = case.lesion_mask
    lesion = np.zeros_like(case.brain_mask) if lesion is None else lesion
    z = int(lesion.sum((0, 1)).argmax()) if lesion.any() else _WHOLE_BRAIN_SLICE
    assert found.pseudo_healthy is not None, "DAL restores"
    volumes = (
        found.image,
        found.extras["anatomy"],
        found.extras["edges"],
        found.pseudo_healthy,
        found.anomaly[""],
    )
    return Row(title, tuple(v[..., z] for v in volumes), lesion[..., z], threshold)


def draw(rows: Sequence[Row], path: Path) -> None:
    """One row an image; the annotated lesion's outline on the first and the last column."""
    size = (1.9 * len(_COLUMNS), 2.35 * len(rows))
    figure, axes = plt.subplots(len(rows), len(_COLUMNS), figsize=size, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for place, name, plane in zip(places, _COLUMNS, row.slices, strict=True):
            is_score = name == "score"
            place.imshow(
                plane.T,
                origin="upper",  # axes are LPS: anterior is on top, the patient's right on the left
                cmap="inferno" if is_score else "gray",
                vmin=0,
                vmax=3 * row.threshold if is_score else 1,
            )
            if name in ("image", "score") and row.lesion.any():
                place.contour(row.lesion.T, levels=[0.5], colors="cyan", linewidths=0.7)
            place.set_axis_off()
            if row is rows[0]:
                place.set_title(name, fontsize=9)
        corner = {"transform": places[0].transAxes, "color": "white", "va": "top", "fontsize": 7}
        places[0].text(0.02, 0.98, row.title, **corner)
    figure.subplots_adjust(0, 0, 1, 1 - _TITLE_INCHES / size[1], 0.01, 0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
