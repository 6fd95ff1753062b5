"""From a table of numbers to cells of text, with what is best in each group marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import pandas as pd

MISSING = "–"
BEST = ("AP", "DSC")  # higher is better
_LOW, _HIGH = " low", " high"


@dataclass(frozen=True)
class Cell:
    """One value of a table; `value` is what it is sorted by, if it is a number."""

    text: str
    value: str | None = None
    best: bool = False
    detail: str = ""
    url: str = ""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown.

    Parameters
    ----------
    columns : (name, holds numbers)
    row_heading : number of the column that names the row
    rising : number of the column by which the rows ascend, if they do
    """

    columns: list[tuple[str, bool]]
    rows: list[list[Cell]]
    row_heading: int = 0
    rising: int | None = None


def table_of(
    frame: pd.DataFrame,
    groups: Sequence[str] = (),
    *,
    hidden: Sequence[str] = (),
    urls: Mapping[str, Sequence[str]] | None = None,
    row_heading: str = "",
    rising: str = "",
) -> Table:
    """Cells of `frame` as text; numbers of one column share their decimals.

    Parameters
    ----------
    groups : columns within whose equal values the best AP and DSC are marked
    hidden : columns that are not shown
    urls : column → where each of its cells leads; empty strings lead nowhere
    row_heading : column that names the row; the first, if it is not there
    rising : column by which the rows of `frame` ascend

    Notes
    -----
    Columns "X low" and "X high" go into the cells of "X", as their interval.
    """
    there = [str(name) for name in frame.columns]
    intervals = {n for n in there if {n + _LOW, n + _HIGH} <= set(there)}
    taken = {n + end for n in intervals for end in (_LOW, _HIGH)} | set(hidden)
    names = [name for name in there if name not in taken]
    columns = [_column(frame[name]) for name in names]
    for number, name in enumerate(names):
        if name in intervals:
            columns[number] = _with_interval(*(frame[name + end] for end in ("", _LOW, _HIGH)))
        if name in BEST and groups:
            columns[number] = _emphasised(columns[number], frame[list(groups)])
        if urls and name in urls:
            columns[number] = [
                replace(cell, url=url)
                for cell, url in zip(columns[number], urls[name], strict=True)
            ]
    numeric = [any(cell.value is not None for cell in column) for column in columns]
    return Table(
        columns=list(zip(names, numeric, strict=True)),
        rows=[list(row) for row in zip(*columns, strict=True)],
        row_heading=names.index(row_heading) if row_heading in names else 0,
        rising=names.index(rising) if rising in names else None,
    )


def mean_cell(values: Sequence[float]) -> Cell:
    """Mean of a few seeds, with their sample standard deviation where there are several."""
    known = pd.Series([value for value in values if _is_number(value)], dtype=float)
    if known.empty:
        return Cell(MISSING)
    spread = f" ± {known.std():.1f}" if len(known) > 1 else ""
    return Cell(f"{known.mean():.1f}{spread}", repr(float(known.mean())))


def marked(cells: Sequence[Cell]) -> list[Cell]:
    """The best cell marked, with all that look equal to it; nothing where only one has a value."""
    known = [cell for cell in cells if cell.value is not None]
    if len(known) < 2:
        return list(cells)
    top = _seen(max(known, key=lambda cell: float(cell.value or "nan")))
    return [replace(cell, best=cell.value is not None and _seen(cell) == top) for cell in cells]


def number(value: object) -> str:
    """A value that stands alone."""
    return _column(pd.Series([value], dtype=object))[0].text


def _seen(cell: Cell) -> str:
    """The number as it is shown, without a spread."""
    return cell.text.split(" ")[0]


def _column(values: pd.Series[Any]) -> list[Cell]:
    decimals = _decimals(values)
    return [_cell(value, decimals) for value in values]


def _decimals(values: Iterable[Any]) -> int:
    floats = [abs(v) for v in values if _is_number(v) and not isinstance(v, Integral)]
    largest = max(floats, default=0)
    return (
        1
        if largest == 0
        else 3
        if largest < 1
        else 2
        if largest < 10
        else 1
        if largest < 1000
        else 0
    )


def _cell(value: object, decimals: int) -> Cell:
    if isinstance(value, Integral) and _is_number(value):
        return Cell(str(value), str(value))
    if isinstance(value, Real) and _is_number(value):
        found = float(value)
        tiny = found != 0 and abs(found) < 0.5 * 10**-decimals
        return Cell(f"{found:.1e}" if tiny else f"{found:.{decimals}f}", repr(found))
    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, Real):
        return Cell(MISSING)
    return Cell(str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _with_interval(values: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any]) -> list[Cell]:
    """Cells of `values` with their intervals, all with the same decimals."""
    decimals = _decimals([*values, *low, *high])
    columns = ([_cell(value, decimals) for value in one] for one in (values, low, high))
    return [
        replace(cell, detail=f"{a.text} to {b.text}") if a.value and b.value else cell
        for cell, a, b in zip(*columns, strict=True)
    ]


def _emphasised(column: list[Cell], groups: pd.DataFrame) -> list[Cell]:
    result = list(column)
    for positions in groups.groupby(list(groups.columns), dropna=False).indices.values():
        for i, cell in zip(positions, marked([column[i] for i in positions]), strict=True):
            result[i] = cell
    return result
