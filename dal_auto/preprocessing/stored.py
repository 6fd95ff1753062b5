"""What is there of a dataset after `dal_plan_and_preprocess`: its cases, and what was decided."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

from dal_auto import paths
from dal_auto.datasets.drawn import is_drawn
from dal_auto.errors import DalError, UsageError, did_you_mean
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.standard_cases import CaseRecord, case_ids, read_records

logger = logging.getLogger(__name__)


def folder_of(dataset: str) -> Path:
    """Where a dataset's preprocessed files lie."""
    return paths.preprocessed() / dataset


def case_records(dataset: str) -> list[CaseRecord]:
    """The standard cases of a dataset; what an earlier state of it left behind does not count.

    Raises
    ------
    UsageError
        if there are none: it has not been preprocessed.
    """
    folder = folder_of(dataset) / "cases"
    known = _known_cases(dataset)
    records = read_records(folder, known)
    if not records:
        raise UsageError(
            f"no preprocessed case of {dataset} in {folder_of(dataset)}. {_remedy(dataset)}"
        )
    if known is not None:
        _say_what_is_not_there(
            dataset, len(case_ids(folder) - set(known)), len(known) - len(records)
        )
    return records


def _known_cases(dataset: str) -> Collection[str] | None:
    """The cases that the dataset had when it was last preprocessed; None where that is not said, as
    of drawn heads, which go through no chain."""
    with suppress(DalError, ValueError):
        steps = load_decisions(dataset).steps
        return None if is_drawn(dataset) and not steps else steps
    return None


@cache
def _say_what_is_not_there(dataset: str, left_over: int, missing: int) -> None:
    if left_over:
        logger.warning(
            "WARNING: %d preprocessed cases of %s are left out: the dataset no longer has them",
            left_over,
            dataset,
        )
    if missing:
        logger.warning(
            "WARNING: %d cases of %s are missing: they failed, or preprocessing was stopped. "
            "`dal_plan_and_preprocess -d %s` goes on, and says why a case fails",
            missing,
            dataset,
            dataset,
        )


def _remedy(dataset: str) -> str:
    """What to do where a dataset is not preprocessed, or its name not quite right."""
    there = {path.parent.name for path in paths.preprocessed().glob("*/preprocessing.json")}
    first = f"Run `dal_plan_and_preprocess -d {dataset}` first."
    return f"{did_you_mean(dataset, there - {dataset})} {first}".lstrip()


def load_decisions(dataset: str) -> DatasetDecisions:
    """What `dal_plan_and_preprocess` decided for a dataset."""
    path = folder_of(dataset) / "preprocessing.json"
    if not path.is_file():
        raise UsageError(f"{path} is missing. {_remedy(dataset)}")
    return DatasetDecisions.parse(json.loads(path.read_text(encoding="utf-8")))
