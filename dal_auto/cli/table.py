"""Tables for a terminal: columns as wide as they need to be, the last one wrapped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

_WIDEST = 120
_GAP = "  "


def terminal_width() -> int:
    """Columns of the terminal, at most 120; 100 where there is none."""
    return min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width`; words such as URLs stay whole.

    `indent` stands before the first line of each paragraph, blanks of its length before the others.
    """
    return [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(
            part,
            max(width, len(indent) + 20),
            initial_indent=indent,
            subsequent_indent=" " * len(indent),
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> list[list[str]]:
    """Header and rows, each as its lines; numbers stand right, the last column is wrapped.

    Parameters
    ----------
    header : name of each column
    rows : cells; those of the last column may have several lines
    width : of the terminal
    """
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header) - 1)]
    right = [
        bool(rows) and all(isinstance(row[i], int) or not row[i] for row in rows)
        for i in range(len(header) - 1)
    ]
    blocks = []
    for row in cells:
        start = "".join(
            (cell.rjust(size) if to_right else cell.ljust(size)) + _GAP
            for cell, size, to_right in zip(row, widths, right, strict=False)
        )
        last = wrap(row[-1], width - len(start)) or [""]
        margin = " " * len(start)
        blocks.append([(start + last[0]).rstrip(), *(margin + line for line in last[1:])])
    return blocks


def show(lines: Sequence[str]) -> None:
    """Write lines to the standard output, where they can be piped; messages go to stderr.

    A reader that leaves early (``| head``) has seen enough: what follows is dropped.
    """
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
