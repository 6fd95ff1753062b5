"""The quality page of a dataset: a table of cases with pictures, sortable, light for thousands.

Pictures are files beside the page, loaded when they come into view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dal_auto.pages import page as pages
from dal_auto.pages.pictures import ShownPicture
from dal_auto.preprocessing.quality.limits import (
    FEWEST_CASES,
    OUTLIER_SIGMAS,
    Figure,
    Finding,
    Limits,
    figure_of,
)

MISSING = "–"


@dataclass(frozen=True)
class CaseQuality:
    """A case: its picture, if it could be drawn, and what was found in its figures."""

    case_id: str
    picture: ShownPicture | None
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Column:
    """A figure as the page explains it."""

    name: str
    figure: Figure
    median: str
    fixed: str
    cohort: str
    flagged: int

    @property
    def first(self) -> str:
        """The order that brings the worst to the top."""
        return "ascending" if self.figure.bad == "low" else "descending"


def write_page(
    path: Path,
    dataset: str,
    figures: pd.DataFrame,
    limits: Mapping[str, Limits],
    rows: Sequence[CaseQuality],
    failures: Sequence[str],
) -> None:
    """Write the page to `path`, whole or not at all; all text is escaped.

    Parameters
    ----------
    figures : one row per case, in the order of `rows`; one column per figure, NaN where missing
    limits : figure → (least, most), those of the cohort
    rows : the cases, worst first
    failures : one sentence per case that failed
    """
    explained = [_column(str(name), figures[name], limits, rows) for name in figures.columns]
    columns = [column for column in explained if column.flagged or _differs(figures[column.name])]
    shown = figures[[column.name for column in columns]].to_numpy().tolist()
    pages.write_page(
        path,
        "page.html",
        __package__ or "",
        scripts=(pages.TABLE, pages.GALLERY),
        dataset=dataset,
        explained=explained,
        columns=columns,
        cases=[
            (row, _cells(row, values, columns)) for row, values in zip(rows, shown, strict=True)
        ],
        choices=_choices(columns),
        flagged=sum(bool(row.findings) for row in rows),
        failures=failures,
        sigmas=f"{OUTLIER_SIGMAS:g}",
        fewest=FEWEST_CASES,
        learned=bool(limits),
    )


def _choices(columns: Sequence[Column]) -> list[tuple[int, str, bool]]:
    """(column, name, whether it comes first) of what the table can be sorted by."""
    figures = [(n, column.figure.title, False) for n, column in enumerate(columns, start=3)]
    return [(0, "worst first", True), (2, "case", False), *figures]


def _column(
    name: str, values: pd.Series[float], limits: Mapping[str, Limits], rows: Sequence[CaseQuality]
) -> Column:
    figure = figure_of(name)
    flagged = sum(finding.figure == name for row in rows for finding in row.findings)
    return Column(
        name,
        figure,
        _number(float(values.median()), figure.decimals),
        _bounds(figure.limits),
        _bounds(limits.get(name, (-math.inf, math.inf))),
        flagged,
    )


def _differs(values: pd.Series[float]) -> bool:
    """Whether a figure tells cases apart: there is one case, or they are not all equal."""
    return len(values) == 1 or values.nunique(dropna=False) > 1


def _cells(
    row: CaseQuality, values: Sequence[float], columns: Sequence[Column]
) -> list[tuple[str, str]]:
    """Text and kind of finding ("" for none) for every column of a case."""
    kinds = {finding.figure: finding.kind for finding in row.findings}
    return [
        (_number(value, column.figure.decimals), kinds.get(column.name, ""))
        for value, column in zip(values, columns, strict=True)
    ]


def _number(value: float, decimals: int) -> str:
    return MISSING if math.isnan(value) else f"{value:.{decimals}f}"


def _bounds(limits: Limits) -> str:
    low, high = limits
    if math.isinf(low) and math.isinf(high):
        return MISSING
    if math.isinf(high):
        return f"{low:.4g} or more"
    if low == high:
        return f"{low:g}"
    return f"{high:.4g} or less" if math.isinf(low) else f"{low:.4g} to {high:.4g}"
