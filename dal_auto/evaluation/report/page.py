"""One self-contained HTML page: verdicts, tables, pictures, plans, limits.

Everything is inside the file (styles, script, pictures), so it can be mailed and opened offline.
It holds no dates: equal results give equal bytes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from dal_auto import atomic

MISSING = "–"
GROUPS = ("dataset", "sequence")  # within these, methods compare
BEST = ("AP", "DSC")  # higher is better
SOURCES = ("paper", "measured", "ours", "user")


@dataclass(frozen=True)
class Picture:
    """A PNG file with what it shows; an empty dataset or case stands for all of them."""

    path: Path
    caption: str
    dataset: str
    case_id: str
    sequence: str
    method: str


@dataclass(frozen=True, eq=False)
class Report:
    """What the page says.

    Parameters
    ----------
    title, intro : heading and paragraphs under it
    simulated : the data were made by a program; the page says so in a banner
    verdicts : sentences such as "DAL does not beat mean-brain on T2"
    results : one row per dataset, sequence and method; within each ("dataset", "sequence") the best
        "AP" and "DSC" are emphasised
    cases : one row per case, sequence and method
    pictures : in the order in which they are shown
    plans : (key, value, source); a source begins with paper, measured, ours or user, and a colon
    versions : tool → version
    failures : one sentence per case that failed
    methods_paragraph : text for a publication; line breaks are kept
    limits : what the method cannot see
    """

    title: str
    intro: list[str]
    simulated: bool
    verdicts: list[str]
    results: pd.DataFrame
    cases: pd.DataFrame
    pictures: list[Picture]
    plans: list[tuple[str, str, str]]
    versions: dict[str, str]
    failures: list[str]
    methods_paragraph: str
    limits: list[str]


@dataclass(frozen=True)
class Cell:
    """One value of a table; `value` is what it is sorted by, if it is a number."""

    text: str
    value: str | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """`columns` are (name, holds numbers)."""

    columns: list[tuple[str, bool]]
    rows: list[list[Cell]]


def write_report(report: Report, path: Path) -> None:
    """Write the page to `path`, whole or not at all. A picture without a file is named as missing.

    Parameters
    ----------
    report : what the page says; all of it is escaped
    path : the HTML file
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        report=report,
        results=_table(report.results, best=BEST),
        cases=_table(report.cases),
        pictures=_grouped(report.pictures),
        plans=[(key, value, *_source(source)) for key, value, source in report.plans],
        data_uri=_data_uri,
        alternative=_alternative,
    )
    atomic.write_text(path, page)


def _table(frame: pd.DataFrame, best: Sequence[str] = ()) -> Table:
    """Cells of `frame` as text, numbers of one column with the same decimals."""
    columns = [_column(frame[name]) for name in frame.columns]
    groups = [name for name in GROUPS if name in frame.columns]
    for number, name in enumerate(frame.columns):
        if name in best and groups:
            columns[number] = _emphasised(columns[number], frame[groups])
    numeric = [any(cell.value is not None for cell in column) for column in columns]
    names = [str(name) for name in frame.columns]
    return Table(
        columns=list(zip(names, numeric, strict=True)),
        rows=[list(row) for row in zip(*columns, strict=True)],
    )


def _column(values: pd.Series[Any]) -> list[Cell]:
    floats = [abs(v) for v in values if _is_number(v) and not isinstance(v, Integral)]
    largest = max(floats, default=0)
    decimals = 3 if largest < 10 else 2 if largest < 1000 else 0
    return [_cell(value, decimals) for value in values]


def _cell(value: object, decimals: int) -> Cell:
    if isinstance(value, Integral) and _is_number(value):
        return Cell(str(value), str(value))
    if isinstance(value, Real) and _is_number(value):
        number = float(value)
        tiny = number != 0 and abs(number) < 0.5 * 10**-decimals
        return Cell(f"{number:.1e}" if tiny else f"{number:.{decimals}f}", repr(number))
    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, Real):
        return Cell(MISSING)
    return Cell(str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _emphasised(column: list[Cell], groups: pd.DataFrame) -> list[Cell]:
    """The best of each group marked, with all that look equal to it; nothing where only one is."""
    marked = list(column)
    for positions in groups.groupby(list(groups.columns), dropna=False).indices.values():
        numbers = {int(i): cell for i in positions if (cell := column[i]).value is not None}
        if len(numbers) < 2:
            continue
        top = max(numbers.values(), key=lambda cell: float(cell.value or "nan")).text
        for i, cell in numbers.items():
            marked[i] = Cell(cell.text, cell.value, best=cell.text == top)
    return marked


def _grouped(pictures: Iterable[Picture]) -> Mapping[str, Mapping[str, list[Picture]]]:
    """Dataset → case → pictures, in the order of their first appearance."""
    groups: dict[str, dict[str, list[Picture]]] = {}
    for picture in pictures:
        groups.setdefault(picture.dataset, {}).setdefault(picture.case_id, []).append(picture)
    return groups


def _data_uri(path: Path) -> str:
    """The file inside a URI, or an empty string if there is none."""
    if not path.is_file():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _alternative(picture: Picture) -> str:
    """Text for those who do not see the picture."""
    of = [picture.method, picture.sequence, picture.case_id, picture.dataset]
    return f"{picture.caption} ({', '.join(part for part in of if part)})"


def _source(source: str) -> tuple[str, str]:
    """Kind of the source (or "other") and what follows it."""
    kind, _, detail = source.partition(":")
    kind = kind.strip()
    return (kind, detail.strip()) if kind in SOURCES else ("other", source)
