"""Long vectors as points in a plane, with arrows from one to another (the paper's Fig. 6).

By t-SNE where scikit-learn is installed (the extra ``figures``), else by the first two principal
components; the figure says which.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from dal_auto.figures.curves import DPI, OKABE_ITO

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # a new one each time that colours are used up
_FILLS = (1.0, 0.0, 0.35, 0.65)  # opacity inside the marker
_PERPLEXITY = 30.0
_EXACT = 1000  # vectors; with more, the exact method takes minutes
_FEWEST = 20  # vectors; with fewer, neighbourhoods mean nothing


def embed(vectors: npt.ArrayLike) -> tuple[FloatArray, str]:
    """Points in a plane, near where vectors are alike.

    Parameters
    ----------
    vectors : (n, length)

    Returns
    -------
    ((n, 2) points, "t-SNE" or "PCA"); the same points for the same vectors
    """
    table = np.asarray(vectors, np.float64)
    table = table - table.mean(axis=0)
    if len(table) >= _FEWEST:
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            logger.info("t-SNE needs scikit-learn (`pip install dal-auto[figures]`): PCA instead")
        else:
            perplexity = min(_PERPLEXITY, (len(table) - 1) / 3)
            tsne = TSNE(
                perplexity=perplexity,
                init="pca",
                random_state=0,
                method="exact" if len(table) <= _EXACT else "barnes_hut",
            )
            return np.asarray(tsne.fit_transform(_components(table, 50)), np.float64), "t-SNE"
    return _components(table, 2), "PCA"


def _components(table: FloatArray, number: int) -> FloatArray:
    """The first principal components, the largest entry of each axis positive: signs are free."""
    u, s, axes = np.linalg.svd(table, full_matrices=False)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)[:, 0]
    points = (u * s * np.where(largest < 0, -1, 1))[:, :number]
    return np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))


def embedding_figure(
    points: FloatArray,
    groups: Sequence[str],
    kinds: Sequence[str],
    title: str,
    *,
    targets: FloatArray | None = None,
) -> Figure:
    """Points by two properties.

    Parameters
    ----------
    points : (n, 2)
    groups : of each point, what its colour and shape tell
    kinds : of each point, what its filling tells
    title : heading of the figure
    targets : (n, 2) where an arrow from each point leads; a short one is a small shift
    """
    figure = Figure(figsize=(5.6, 5.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    group_number = {name: number for number, name in enumerate(sorted(set(groups)))}
    fill_of = {name: _FILLS[n % len(_FILLS)] for n, name in enumerate(sorted(set(kinds)))}
    pairs = list(zip(groups, kinds, strict=True))
    for group, kind in sorted(set(pairs)):
        rows = [row for row, pair in enumerate(pairs) if pair == (group, kind)]
        again, number = divmod(group_number[group], len(OKABE_ITO))
        colour = OKABE_ITO[number]
        x, y = points[rows].T
        axes.scatter(
            x,
            y,
            s=20,
            marker=_MARKERS[again % len(_MARKERS)],
            facecolors=[to_rgba(colour, fill_of[kind])],
            edgecolors=colour,
            linewidths=0.9,
            label=", ".join(dict.fromkeys([group, kind])),
        )
        if targets is not None:
            shift_x, shift_y = (targets[rows] - points[rows]).T
            axes.quiver(
                x,
                y,
                shift_x,
                shift_y,
                angles="xy",
                scale_units="xy",
                scale=1,
                width=0.003,
                color=colour,
            )
    if targets is not None:
        axes.update_datalim(targets)
        axes.autoscale_view()
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    if pairs:
        below = figure.legend(loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
        for text in below.get_texts():
            text.set_parse_math(False)
    return figure
