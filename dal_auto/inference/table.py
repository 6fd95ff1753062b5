"""Tables of a folder of maps: cases, components, failures; and seconds, which are no result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from dal_auto.store.atomic import replacing

CASES = (
    "case", "sequence", "threshold", "anomaly_ml", "components", "largest_component_ml",
    "maximum_score", "mean_score", "flags", "warnings", "run",
)  # fmt: skip
COMPONENTS = ("case", "sequence", "component", "ml", "x_mm", "y_mm", "z_mm", "maximum_score")
FAILURES = ("case", "step", "cause")
SECONDS = ("case", "step", "seconds")


def write_tables(
    output: Path, records: Sequence[Mapping[str, Any]], failures: Iterable[Mapping[str, str]]
) -> None:
    """Write ``cases.csv``, ``components.csv``, ``failures.csv`` and ``logs/seconds.csv``.

    Parameters
    ----------
    records : of all cases done so far, by case id
    failures : case, step and cause
    """
    _write(output / "cases.csv", CASES, case_rows(records))
    found = [
        component | {"component": number}
        for record in records
        for sequence in [row["sequence"] for row in record["rows"]]
        for number, component in enumerate(
            (one for one in record["components"] if one["sequence"] == sequence), 1
        )
    ]
    _write(output / "components.csv", COMPONENTS, found)
    _write(output / "failures.csv", FAILURES, sorted(failures, key=itemgetter("case")))
    seconds = [
        {"case": record["case"], "step": step, "seconds": value}
        for record in records
        for step, value in _seconds(output, record["case"]).items()
    ]
    _write(output / "logs" / "seconds.csv", SECONDS, seconds)


def case_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per case and sequence, with what is said of the case as a whole."""
    return [
        row | {name: "; ".join(record[name]) for name in ("flags", "warnings")}
        for record in records
        for row in record["rows"]
    ]


def _seconds(output: Path, case_id: str) -> dict[str, float]:
    """From a case's log, which may have been tidied away."""
    try:
        text = (output / "logs" / f"{case_id}.json").read_text(encoding="utf-8")
        return dict(json.loads(text)["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary:
        pd.DataFrame(list(rows), columns=list(columns)).to_csv(temporary, index=False)
