"""Box plots: how the cases of each dataset spread, by method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dal_auto.figures.curves import DPI, OKABE_ITO

_HATCHES = ("", "///", "...", "xxx")


def box_figure(table: pd.DataFrame, value: str, groups: Mapping[str, str], title: str) -> Figure:
    """Boxes of quartiles, whiskers to the furthest case within 1.5 times their distance.

    Parameters
    ----------
    table : columns "dataset", "method" and `value`; NaN are left out
    value : what is drawn, in percent
    groups : dataset → text under its boxes, in the order in which they are drawn
    title : heading of the figure
    """
    methods = list(dict.fromkeys(table["method"]))
    width = 0.8 / max(len(methods), 1)
    size = (max(5.0, 1.5 + len(groups) * max(0.9, 0.28 * len(methods))), 4.6)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    handles = []
    for number, method in enumerate(methods):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        hatch = _HATCHES[number // len(OKABE_ITO) % len(_HATCHES)]
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="black", label=method))
        mine = table[table["method"] == method]
        values = [mine.loc[mine["dataset"] == name, value].dropna().to_numpy() for name in groups]
        filled = [place for place, found in enumerate(values) if found.size]
        if not filled:
            continue
        drawn = axes.boxplot(
            [values[place] for place in filled],
            positions=[place + (number - (len(methods) - 1) / 2) * width for place in filled],
            widths=0.85 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
        )
        for box in drawn["boxes"]:
            box.set(facecolor=colour, hatch=hatch)
    axes.set_xticks(np.arange(len(groups)), list(groups.values()), fontsize=8)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(-2, 102)
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    axes.set_ylabel(f"{value} in %", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if handles:
        below = figure.legend(
            handles=handles, loc="outside lower center", ncols=4, fontsize=7.5, frameon=False
        )
        for text in below.get_texts():
            text.set_parse_math(False)
    return figure
