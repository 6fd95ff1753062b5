"""Tables of a folder of maps: cases, components, failures; and seconds, which are no result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dal_auto.inference.record import PredictionRecord
from dal_auto.inference.remark import texts
from dal_auto.store.atomic import replacing
from dal_auto.store.failures import Failures

CASES = (
    "case", "sequence", "threshold", "anomaly_ml", "components", "largest_component_ml",
    "maximum_score", "mean_score", "flags", "warnings", "run",
)  # fmt: skip
COMPONENTS = ("case", "sequence", "component", "ml", "x_mm", "y_mm", "z_mm", "maximum_score")
SECONDS = ("case", "step", "seconds")


def write_tables(output: Path, records: Sequence[PredictionRecord], failures: Failures) -> None:
    """Write ``cases.csv``, ``components.csv``, ``failures.csv`` and ``logs/seconds.csv``.

    Parameters
    ----------
    records : of all cases done so far, by case id
    failures : of the cases that failed
    """
    _write(output / "cases.csv", CASES, case_rows(records))
    _write(output / "components.csv", COMPONENTS, _component_rows(records))
    failures.write(output / "failures.csv")
    seconds = [
        {"case": record.case, "step": step, "seconds": value}
        for record in records
        for step, value in _seconds(output, record.case).items()
    ]
    _write(output / "logs" / "seconds.csv", SECONDS, seconds)


def case_rows(records: Iterable[PredictionRecord]) -> list[dict[str, Any]]:
    """One row per case and sequence, with what is said of the case as a whole."""
    return [
        {
            "case": record.case,
            "sequence": one.sequence,
            "threshold": one.threshold,
            "anomaly_ml": one.anomaly_ml,
            "components": len(one.components),
            "largest_component_ml": one.largest_component_ml,
            "maximum_score": one.maximum_score,
            "mean_score": one.mean_score,
            "flags": "; ".join(texts(record.flags)),
            "warnings": "; ".join(texts(record.warnings)),
            "run": record.model.run,
        }
        for record in records
        for one in record.maps
    ]


def _component_rows(records: Iterable[PredictionRecord]) -> list[dict[str, Any]]:
    """One row per component, numbered within its map."""
    return [
        {"case": record.case, "sequence": one.sequence, "component": number}
        | component.model_dump()
        for record in records
        for one in record.maps
        for number, component in enumerate(one.components, 1)
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
