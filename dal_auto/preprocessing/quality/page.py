"""The quality page of a dataset: a table of cases with pictures, sortable, light for thousands.

Styles and script are inside; pictures are files beside the page, loaded when they come into view.
It holds no dates: equal results give equal bytes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dal_auto.preprocessing.quality.limits import (
    FEWEST_CASES,
    OUTLIER_SIGMAS,
    Figure,
    Finding,
    Limits,
    figure_of,
)
from dal_auto.store import atomic

MISSING = "–"


@dataclass(frozen=True)
class Picture:
    """A picture's path from the page's folder, its size in pixels, and what it shows."""

    path: Path
    width: int
    height: int
    sequences: tuple[str, ...]

    @property
    def url(self) -> str:
        return quote(self.path.as_posix())


@dataclass(frozen=True)
class Row:
    """A case: its picture, if it could be drawn, and what was found in its figures."""

    case_id: str
    picture: Picture | None
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
    rows: Sequence[Row],
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
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    template = resources.files(__package__).joinpath("page.html")
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        dataset=dataset,
        explained=explained,
        columns=columns,
        cases=[
            (row, _cells(row, values, columns)) for row, values in zip(rows, shown, strict=True)
        ],
        flagged=sum(bool(row.findings) for row in rows),
        failures=[Markup(html.escape(failure)) for failure in failures],
        labels=[_css_text(column.figure.title) for column in columns],
        sigmas=f"{OUTLIER_SIGMAS:g}",
        fewest=FEWEST_CASES,
        learned=bool(limits),
    )
    atomic.write_text(path, page)


def _column(
    name: str, values: pd.Series[float], limits: Mapping[str, Limits], rows: Sequence[Row]
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


def _cells(row: Row, values: Sequence[float], columns: Sequence[Column]) -> list[tuple[str, str]]:
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


def _css_text(text: str) -> Markup:
    """A string for CSS: what is neither letter nor digit of ASCII is written by its code."""
    plain = (c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in text)
    return Markup(f'"{"".join(plain)}"')
