"""Progress of long work: a bar in a terminal; elsewhere, as in a job's log, a line now and then."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)

#: Seconds between two lines where there is no terminal.
_SPARSE_S = 30.0
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} so far, {remaining} left{postfix}"


def progress(
    title: str,
    unit: str,
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    initial: int = 0,
    disable: bool = False,
) -> tqdm[Any]:
    """A bar over `items`, or over `total` units of which `update` tells; to be used as tqdm's.

    Parameters
    ----------
    initial : units that were done before
    disable : show nothing
    """
    bar = tqdm if sys.stderr.isatty() else _Lines
    return bar(items, title, total, unit=unit, initial=initial, disable=disable, dynamic_ncols=True)


class _Lines(tqdm):
    """A line in the log at most every 30 s, and one at the end if there was any before."""

    def __init__(self, *items: Any, **settings: Any) -> None:
        self._said = monotonic()
        self._shown: float | None = None  # units of the last line
        # tqdm's own writing, a line break at the end, goes nowhere.
        super().__init__(  # type: ignore[call-overload]
            *items, **settings, file=io.StringIO(), bar_format=_LINE
        )

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Called by tqdm whenever it would draw the bar."""
        due = monotonic() - self._said >= _SPARSE_S
        if (due or (self._shown is not None and self.n == self.total)) and self.n != self._shown:
            logger.info(str(self))
            self._said, self._shown = monotonic(), self.n
