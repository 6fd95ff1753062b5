"""Figures of the report as PNG and as SVG, byte for byte the same from run to run."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from dal_auto.figures.png import save_png
from dal_auto.store.atomic import replacing

#: Element ids are hashes of this and of what they name, instead of random; text stays text.
_SVG = {"svg.hashsalt": "dal_auto", "svg.fonttype": "none"}


def save_figure(figure: Figure, stem: Path) -> Path:
    """Write ``<stem>.png`` and ``<stem>.svg``; returns the PNG."""
    path = stem.with_name(f"{stem.name}.png")
    save_png(figure, path)
    save_svg(figure, stem.with_name(f"{stem.name}.svg"))
    return path


def save_svg(figure: Figure, path: Path) -> None:
    """Write `figure` as SVG, whole or not at all, without dates and versions."""
    with matplotlib.rc_context(_SVG), replacing(path) as temporary:  # type: ignore[arg-type]
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
