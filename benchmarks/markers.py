"""Tables of a page that a benchmark writes, between two comments; the rest is written by hand."""

from __future__ import annotations

from pathlib import Path

from dal_auto.store.atomic import write_text


def write_tables(page: Path, script: str, tables: str) -> None:
    """Replace what stands between the comments of a script.

    Raises
    ------
    SystemExit
        if the page lacks them.
    """
    begin, end = f"<!-- benchmarks/{script} writes from here -->", "<!-- to here -->"
    head, found, rest = page.read_text("utf-8").partition(begin)
    _, ended, tail = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} has no lines {begin} and {end}")
    write_text(page, f"{head}{begin}\n\n{tables.strip()}\n\n{end}{tail}")
