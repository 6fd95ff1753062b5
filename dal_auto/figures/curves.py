"""Curves: losses of a training, precision over recall, sensitivity over lesion size, sweeps.

Colours are those of Okabe & Ito (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH, DPI = 9.0, 100  # inches, dots per inch

_SMOOTHED = 40  # running medians over a curve

_VALIDATED, _WATCHED = "validation: losses", "validation: what is watched"

Curve = tuple[npt.ArrayLike, npt.ArrayLike]


def training_curves(log: pd.DataFrame) -> Figure:
    """Losses over the steps: the total, its parts, and below them what was validated.

    Losses are drawn as running medians over 1/40 of the steps, their single values faint behind.

    Parameters
    ----------
    log : columns "step", "loss", and any other numeric ones; those whose names begin with "val_"
        were validated, at the steps where they are not NaN. The y axis is logarithmic where all
        values are positive.
    """
    numeric = log.select_dtypes("number")
    names = [name for name in numeric.columns if name != "step"]
    groups = {
        "total": [name for name in names if name == "loss"],
        "parts": [name for name in names if name != "loss" and not name.startswith("val_")],
        _VALIDATED: [name for name in names if name.removeprefix("val_") in {*names} - {name}],
        _WATCHED: [name for name in names if name.startswith("val_")],
    }
    groups[_WATCHED] = [name for name in groups[_WATCHED] if name not in groups[_VALIDATED]]
    groups = {title: columns for title, columns in groups.items() if numeric[columns].size}
    height = 3.2 * max(1, len(groups))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if not groups:
        figure.text(0.5, 0.5, "No training steps were logged.", ha="center", va="center")
        return figure
    for axes, (title, columns) in zip(
        figure.subplots(len(groups), squeeze=False)[:, 0], groups.items(), strict=True
    ):
        for number, column in enumerate(columns):
            values = numeric[["step", column]].dropna()
            style = _line(number)
            if title not in (
                _VALIDATED,
                _WATCHED,
            ):  # the noise of batches stays in sight, but does not lead
                axes.plot(values["step"], values[column], linewidth=0.5, alpha=0.3, **style)
                span = max(1, len(values) // _SMOOTHED)
                values = values.rolling(span, center=True, min_periods=1).median()
            axes.plot(
                values["step"],
                values[column],
                label=column.removeprefix("val_"),
                linewidth=1.5,
                marker="." if title in (_VALIDATED, _WATCHED) else "",
                **style,
            )
        if numeric[columns].min().min() > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        _finish(axes, title, "step", "", legend=columns != ["loss"])
    return figure


def precision_recall_figure(curves: Mapping[str, Sequence[Curve]], title: str) -> Figure:
    """Precision over recall as stepped lines; the area under one is its average precision.

    Parameters
    ----------
    curves : name → (recall, precision) of each seed, in [0, 1]; seeds share colour and name
    title : heading of the figure
    """
    figure = Figure(figsize=(5.2, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for number, (name, seeds) in enumerate(curves.items()):
        for seed, (recall, precision) in enumerate(seeds):
            recall, precision = np.asarray(recall, float), np.asarray(precision, float)
            if recall.size and recall[0] > recall[-1]:
                recall, precision = recall[::-1], precision[::-1]
            # Precision at a recall holds back to the previous recall: AP = Σ (R_n − R_n−1) P_n.
            axes.plot(
                recall,
                precision,
                drawstyle="steps-pre",
                label="_" if seed else name,  # matplotlib lists no name that begins so
                linewidth=1.5 / len(seeds) ** 0.5,
                **_line(number),
            )
    axes.set(xlim=(0, 1.005), ylim=(0, 1.005))
    _finish(axes, title, "recall", "precision", legend=bool(curves))
    return figure


def sensitivity_figure(panels: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Share of the lesions that is found, by class of volume: a panel per sequence.

    Parameters
    ----------
    panels : sequence → columns "method", "from ml", "below ml", "lesions", "found" (%); seeds of
        a method are averaged
    title : heading of the figure
    """
    figure = Figure(figsize=(4.2 * max(len(panels), 1), 4.2), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    subplots = figure.subplots(1, max(len(panels), 1), squeeze=False, sharey=True)[0]
    for axes, (sequence, table) in zip(subplots, panels.items(), strict=False):
        classes = table.groupby(["from ml", "below ml"], as_index=False)["lesions"].max()
        names = [_class_name(*row) for row in classes.itertuples(index=False)]
        place = {low: number for number, low in enumerate(classes["from ml"])}
        for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
            found = rows.groupby("from ml")["found"].mean().dropna()
            x = [place[low] for low in found.index]
            axes.plot(x, found, label=str(method), marker="o", markersize=4, **_line(number))
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.3, len(names) - 0.7)
        axes.set_ylim(-2, 102)
        _finish(axes, sequence, "lesion volume in ml", "lesions found in %", legend=False)
    handles, names = subplots[0].get_legend_handles_labels()
    if handles:
        below = figure.legend(
            handles, names, loc="outside lower center", ncols=4, fontsize=7.5, frameon=False
        )
        for text in below.get_texts():
            text.set_parse_math(False)
    return figure


def _class_name(low: float, high: float, lesions: int) -> str:
    between = f"≥ {low:g}" if np.isinf(high) else f"< {high:g}" if low == 0 else f"{low:g}–{high:g}"
    return f"{between}\n{lesions} lesions"


def sweep_figure(table: pd.DataFrame, title: str) -> Figure:
    """A metric over the values of a hyper-parameter, one line per name.

    Parameters
    ----------
    table : columns "name", "value", "AP"
    title : heading of the figure
    """
    figure = Figure(figsize=(5.2, 4.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for number, (name, rows) in enumerate(table.groupby("name", sort=False)):
        ordered = rows.sort_values("value")
        axes.plot(
            ordered["value"],
            ordered["AP"],
            label=str(name),
            marker="o",
            markersize=4,
            **_line(number),
        )
    _finish(axes, title, "value", "AP in %", legend=len(table) > 0)
    return figure


def _line(number: int) -> dict[str, Any]:
    """Colour and, once the colours are used up, another dash pattern."""
    dashes = ("-", "--", ":", "-.")
    return {
        "color": OKABE_ITO[number % len(OKABE_ITO)],
        "linestyle": dashes[number // len(OKABE_ITO) % len(dashes)],
    }


def _finish(axes: Axes, title: str, xlabel: str, ylabel: str, *, legend: bool) -> None:
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        # Below the axes, where it hides no line.
        below = axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=7.5, frameon=False
        )
        for text in below.get_texts():
            text.set_parse_math(False)
