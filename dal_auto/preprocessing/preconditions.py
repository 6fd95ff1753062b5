"""What is found out before a dataset's files are touched: names, tools and room."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.errors import DalError, InputError
from dal_auto.preprocessing.chain import tool_versions
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.claim import require_good_name, require_room

#: Of a voxel of a smooth simulated case on disk, compressed; a real case takes more.
_STORED_BYTES = 0.2


def named_well(cases: Iterable[RawCase]) -> tuple[list[RawCase], list[tuple[str, DalError]]]:
    """Cases whose files can be written, and (case id, error) of those whose name allows none."""
    good, refused = list[RawCase](), list[tuple[str, DalError]]()
    for case in cases:
        try:
            require_good_name(case)
            good.append(case)
        except InputError as error:
            refused.append((case.case_id, error))
    return good, refused


def require_tools_and_room(
    folder: Path, cases: Iterable[RawCase], decisions: DatasetDecisions
) -> None:
    """See that the tools of all steps are installed, and that the disk can hold the new cases.

    Parameters
    ----------
    folder : of the dataset's preprocessed files

    Raises
    ------
    MissingDependency, UsageError
        if that is not so.
    """
    plan = decisions.preprocessing
    for steps in decisions.steps.values():
        tool_versions(steps, plan)
    new = [
        case
        for case in cases
        if case.case_id in decisions.steps and not (folder / f"cases/{case.case_id}.json").exists()
    ]
    channels = sum(len(case.sequences) + 1 for case in new)  # and the brain mask
    least = channels * math.prod(plan.target_shape) * _STORED_BYTES
    require_room(folder, least, f"the {len(new)} cases still to be done")
