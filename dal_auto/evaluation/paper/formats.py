"""A table for a paper: as CSV for machines, as Markdown and LaTeX for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dal_auto.store.atomic import replacing, write_text

Value = str | int | float | None
MISSING = "–"


@dataclass(frozen=True, eq=False)
class PaperTable:
    """Rows of text and numbers, numbers with a standard deviation where there is one.

    Parameters
    ----------
    name : of its files
    title : caption
    rows : column → value, the columns of all rows in the order of their first appearance
    spreads : for each row, column → standard deviation
    notes : under the table: sources, what is compared with what
    decimals : of floats in Markdown and LaTeX; CSV has them in full
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Value]]
    spreads: Sequence[Mapping[str, float]]
    notes: Sequence[str] = ()
    decimals: int = 2

    @property
    def columns(self) -> list[str]:
        """Columns with a value in any row."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if not all(_is_missing(row.get(name)) for row in self.rows)]

    def numbers(self) -> pd.DataFrame:
        """The values, each column followed by "… std" where any row has one."""
        columns: dict[str, list[Value]] = {}
        for name in self.columns:
            columns[name] = [row.get(name) for row in self.rows]
            spreads = [spread.get(name) for spread in self.spreads]
            if not all(map(_is_missing, spreads)):
                columns[f"{name} std"] = list(spreads)
        return pd.DataFrame(columns)

    def text(self) -> pd.DataFrame:
        """The values as they are read: ``41.99 ± 0.20``."""
        return pd.DataFrame(
            {
                name: [
                    self._cell(row.get(name), spread.get(name))
                    for row, spread in zip(self.rows, self.spreads, strict=True)
                ]
                for name in self.columns
            },
            dtype=object,
        )

    def _cell(self, value: Value, spread: float | None) -> str:
        if value is None or _is_missing(value):
            return MISSING
        if not isinstance(value, float):
            return str(value)
        number = f"{value:.{self.decimals}f}"
        if spread is None or _is_missing(spread):
            return number
        return f"{number} ± {spread:.{self.decimals}f}"


def write_table(table: PaperTable, folder: Path) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` into `folder`; equal tables give equal bytes."""
    paths = [folder / f"{table.name}{suffix}" for suffix in (".csv", ".md", ".tex")]
    with replacing(paths[0]) as temporary:
        table.numbers().to_csv(temporary, index=False)
    write_text(paths[1], markdown(table))
    write_text(paths[2], latex(table))
    return paths


def markdown(table: PaperTable) -> str:
    """A heading, a pipe table, and the notes."""
    text = table.text()
    lines = [f"### {table.title}", ""]
    if len(text):
        right = [_is_numeric(table, name) for name in text.columns]
        lines.append(_pipes(text.columns))
        lines.append(_pipes("---:" if number else "---" for number in right))
        lines += [_pipes(row) for row in text.itertuples(index=False)]
    else:
        lines.append("No run for this table has been scored.")
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]).rstrip() + "\n"


def latex(table: PaperTable) -> str:
    """A ``table`` with booktabs' rules; the notes are comments."""
    text = table.text()
    notes = "".join(f"% {note}\n" for note in (*table.notes, "needs \\usepackage{booktabs}"))
    if not len(text):
        return f"{notes}% {table.title}: no run for this table has been scored.\n"
    body = text.to_latex(
        index=False,
        escape=True,
        caption=_escaped(table.title),
        label=f"tab:{table.name}",
        position="tbp",
        column_format="".join("r" if _is_numeric(table, c) else "l" for c in text.columns),
    )
    return notes + body


def _escaped(title: str) -> str:
    for sign, written in (("%", r"\%"), ("&", r"\&"), ("_", r"\_"), ("⁻²", "$^{-2}$")):
        title = title.replace(sign, written)
    return title


def _pipes(cells: object) -> str:
    texts = [str(cell).replace("|", r"\|") for cell in cells]  # type: ignore[attr-defined]
    return f"| {' | '.join(texts)} |"


def _is_numeric(table: PaperTable, name: str) -> bool:
    return any(isinstance(row.get(name), int | float) for row in table.rows)


def _is_missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
