"""Cells as they were made, beside their records: so that a report is rebuilt without the counts.

A full table of 18 methods holds near a million files of score counts, and resampling them takes
hours. A cell is kept under a hash of all that it follows from, and made again if that changes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dal_auto.evaluation.scores import Scored
from dal_auto.scoring import bootstrap
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.scoring.metrics import FloatArray
from dal_auto.store.atomic import write_json
from dal_auto.store.runs import Run

#: To be raised whenever a cell would be made differently.
_FORMAT = "dal_auto cell 2"
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Cell:
    """One dataset, one sequence, one run, in the variant of the method that scores best.

    Parameters
    ----------
    results : its row of `tables.results_table`
    cases : rows of `tables.cases_table`, of every variant
    variants : rows of `tables.variants_table`
    subsets : rows of `tables.subsets_table`
    lesions : of all cases
    practical : the run's practical threshold; NaN if it has none
    curve : recall, precision; thinned for drawing
    resampled : AP of each resample of its patients (`bootstrap.resampled_average_precision`)
    """

    dataset: str
    sequence: str
    run: Run
    method: str
    results: Row
    cases: list[Row]
    variants: list[Row]
    subsets: list[Row]
    lesions: list[LesionScore]
    practical: float
    curve: tuple[FloatArray, FloatArray]
    resampled: FloatArray

    @property
    def case_ids(self) -> list[str]:
        """The cases it is of, in their order."""
        return [str(row["case"]) for row in self.cases if row["method"] == self.method]


def key_of(members: Sequence[Scored], held_out: Sequence[Scored], further: object) -> str:
    """Hash of what a cell follows from.

    Parameters
    ----------
    further : what it depends on beside its records, as JSON
    """
    digest = hashlib.sha256(f"{_FORMAT} {bootstrap.RESAMPLES} {json.dumps(further)}".encode())
    for one in (*members, *held_out):
        digest.update(json.dumps(one.content, sort_keys=True).encode())
    return digest.hexdigest()


def store(cell: Cell, key: str) -> None:
    """Keep a cell; where nothing can be written, it is only not kept."""
    content = {
        "method": cell.method,
        "results": cell.results,
        "cases": cell.cases,
        "variants": cell.variants,
        "subsets": cell.subsets,
        "lesions": [[one.volume_ml, one.highest, one.brain_ml] for one in cell.lesions],
        "practical": cell.practical,
        "curve": [axis.tolist() for axis in cell.curve],
        "resampled": cell.resampled.tolist(),
    }
    with suppress(OSError):
        write_json(
            _path(cell.run, cell.dataset, cell.sequence), {"key": key, "cell": _coded(content)}
        )


def stored(run: Run, dataset: str, sequence: str, key: str) -> Cell | None:
    """The cell that was kept under this key, if there is one."""
    try:
        content = json.loads(_path(run, dataset, sequence).read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        content = _decoded(content["cell"])
        recall, precision = (np.asarray(axis, np.float64) for axis in content["curve"])
        return Cell(
            dataset=dataset,
            sequence=sequence,
            run=run,
            method=content["method"],
            results=content["results"],
            cases=content["cases"],
            variants=content["variants"],
            subsets=content["subsets"],
            lesions=[LesionScore(*values) for values in content["lesions"]],
            practical=content["practical"],
            curve=(recall, precision),
            resampled=np.asarray(content["resampled"], np.float64),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(run: Run, dataset: str, sequence: str) -> Path:
    return run.folder / "evaluation" / dataset / "cells" / f"{sequence}.json"


def _coded(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as ``{"float": "nan"}``.

    Rows keep the order of their columns, which sorted keys would lose: they are lists of pairs.
    """
    if isinstance(value, dict):
        return {"row": [[name, _coded(one)] for name, one in value.items()]}
    if isinstance(value, list):
        return [_coded(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if "float" in value:
            return float(value["float"])
        return {name: _decoded(one) for name, one in value["row"]}
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value
