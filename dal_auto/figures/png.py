"""Figures as small PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dal_auto.store.atomic import replacing


def save_png(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG, whole or not at all; equal figures give equal bytes.

    A palette of 256 colours instead of 24 bits makes the file of a panel about a third smaller, at
    0.1 of 255 levels of mean difference. No metadata (versions, dates) go into it.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with replacing(path) as temporary:
        palette = picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=2)
        palette.save(temporary, "PNG", optimize=True)
