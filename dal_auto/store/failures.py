"""Cases that failed. One bad case stops no other; each is told once, in words and in a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dal_auto.errors import CaseFailed, DalError, legible
from dal_auto.store.atomic import replacing

logger = logging.getLogger(__name__)

COLUMNS = ("case", "step", "cause")


def case_error(case_id: str, step: str, error: BaseException) -> DalError:
    """Any error as one case's own; the traceback of an unforeseen one goes to the debug log.

    Parameters
    ----------
    step : what was done with the case when the error came, where the error does not know it
    """
    if isinstance(error, DalError):
        error.step = error.step or step
        return error
    logger.debug("case %s", case_id, exc_info=error)
    return CaseFailed(case_id, step, f"{type(error).__name__}: {error}")


def case_line(case_id: str, error: DalError) -> str:
    """One line for the list of failed cases; every line names its case, and only once."""
    return str(error) if isinstance(error, CaseFailed) else f"case {case_id}: {error}"


@dataclass
class Failures:
    """The failed cases of one run.

    Parameters
    ----------
    lines : one for each, as `case_line` words it
    rows : the same for a table: the case, the step at which it failed, and the cause
    """

    lines: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, case_id: str, error: DalError) -> str:
        """Note a failed case; returns its line."""
        cause = error.cause if isinstance(error, CaseFailed) else str(error)
        name = legible(case_id)
        self.rows.append({"case": name, "step": error.step, "cause": cause})
        self.lines.append(case_line(name, error))
        return self.lines[-1]

    def sort(self) -> None:
        """By case: workers finish in any order."""
        self.lines.sort()
        self.rows.sort(key=lambda row: row["case"])

    def write(self, path: Path) -> None:
        """Write the table as CSV; it has its header alone where nothing failed.

        Raises
        ------
        DiskFull
            if there is no room for it.
        """
        with replacing(path) as temporary:
            pd.DataFrame(self.rows, columns=list(COLUMNS)).to_csv(temporary, index=False)
