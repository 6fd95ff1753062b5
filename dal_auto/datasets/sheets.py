"""Tables that come with a dataset: Excel files, and copies of them saved as CSV."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from dal_auto.datasets.filenames import walk
from dal_auto.errors import InputError, MissingDependency

_ENDINGS = (".csv", ".xlsx")  # a CSV copy beside the Excel file needs no further package


def find_sheet(pattern: str, roots: Iterable[Path]) -> Path | None:
    """The table whose name without its ending is `pattern`, anywhere below the roots.

    Of several the first by root, then as CSV, then the last by name (the latest version).
    """
    for root in roots:
        if not root.is_dir():
            continue
        found = [
            path
            for folder, _ in walk(root)
            for path in folder.iterdir()
            if path.suffix.lower() in _ENDINGS
            and not path.name.startswith((".", "~$"))
            and fnmatchcase(path.stem, pattern)
            and path.is_file()
        ]
        for ending in _ENDINGS:
            if of_kind := [path for path in found if path.suffix.lower() == ending]:
                return max(of_kind, key=lambda path: path.name)
    return None


def read_sheet(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Some columns of a table as text, without blanks around it; empty cells are "".

    Raises
    ------
    InputError
        if it cannot be read, or lacks a column; the message lists those that it has.
    MissingDependency
        if it is an Excel file and openpyxl is not installed.
    """
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, dtype=str, sep=_separator(path), encoding="utf-8-sig")
        else:
            table = pd.read_excel(path, dtype=str, engine="openpyxl")
    except ImportError:
        raise MissingDependency(
            "openpyxl",
            f"It reads {path}: install it with `pip install openpyxl`, or save the table as a "
            ".csv file beside it.",
        ) from None
    except Exception as error:  # each reader has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"not readable as a table ({reason})", "Get it again.") from error
    table.columns = [str(name).strip() for name in table.columns]
    wanted = list(columns)
    if missing := [name for name in wanted if name not in table.columns]:
        raise InputError(
            path,
            f"it has no column {', '.join(map(repr, missing))}, only {', '.join(table.columns)}",
            "Get the original table again, or rename its columns.",
        )
    return table[wanted].fillna("").apply(lambda column: column.astype(str).str.strip())


def _separator(path: Path) -> str:
    """Comma, semicolon (Excel's in many countries) or tab: what the first line has most of."""
    with path.open(encoding="utf-8-sig") as lines:
        head = lines.readline()
    return max((",", ";", "\t"), key=head.count)
