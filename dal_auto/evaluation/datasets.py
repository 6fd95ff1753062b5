"""Which datasets can be evaluated, what to do about the others, which cases two of them share."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dal_auto import paths
from dal_auto.datasets.overlap import BRATS, COLLECTIONS, cases_to_leave_out, find_overlap
from dal_auto.datasets.record import DatasetRecord
from dal_auto.datasets.registry import dataset_root, load_records
from dal_auto.errors import DalError, UsageError
from dal_auto.evaluation.paper.reference import DATASETS
from dal_auto.preprocessing.stored import case_records
from dal_auto.store.standard_cases import CaseRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Absent:
    """A public test set that is not evaluated, because it is not here.

    Parameters
    ----------
    dataset, licence, url : from its record
    remedy : what to do, with the command. It names no folder of this machine: equal reports have
        equal bytes, wherever the data lies.
    """

    dataset: str
    licence: str
    url: str
    remedy: str


def current_cases(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Case id → hash of each standard case, for the datasets that are preprocessed here."""
    found = {}
    for name in names:
        with suppress(DalError):  # what is wrong with it is said where it is evaluated
            found[name] = {record.case_id: record.hash for record in case_records(name)}
    return found


def annotated_datasets(
    names: Sequence[str] | None,
) -> tuple[dict[str, list[CaseRecord]], list[str]]:
    """Preprocessed cases that have a lesion mask, by dataset; None takes every dataset there is.

    Returns
    -------
    (dataset → cases, failures): where no dataset is named, one that cannot be read is a failure,
    and stops no other

    Raises
    ------
    UsageError
        if a named dataset is not preprocessed, or nothing can be evaluated.
    """
    found: dict[str, list[CaseRecord]] = {}
    failures: list[str] = []
    for name in _preprocessed() if names is None else names:
        folder = _folder_name(name)
        try:
            annotated = [record for record in case_records(folder) if record.has_lesion_mask]
        except DalError as error:
            if names is not None:
                raise
            failures.append(f"{folder}: {error}")
            logger.error(failures[-1])
            continue
        if annotated:
            found[folder] = annotated
        else:
            logger.info("%s has no lesion masks and is not evaluated", folder)
    if not found:
        raise UsageError(
            f"no preprocessed dataset with lesion masks in {paths.preprocessed()}. "
            "Run `dal_plan_and_preprocess -d` on one first."
        )
    return found, failures


def absent_datasets() -> list[Absent]:
    """Test sets with a record that are not preprocessed, in the order of the paper's Table 1."""
    there = set(_preprocessed())
    order = list(DATASETS)
    records = [one for one in load_records().values() if one.role == "test"]
    records.sort(key=lambda one: order.index(one.name) if one.name in order else len(order))
    return [_absent(record) for record in records if record.name not in there]


def _absent(record: DatasetRecord) -> Absent:
    command = f"`dal_plan_and_preprocess -d {record.name}`"
    root = dataset_root(record.name, paths.raw())
    if root.is_dir():
        remedy = f"it is on disk, but not preprocessed: run {command}"
    else:
        registration = ", after registration" if record.access.registration else ""
        remedy = (
            f"download it from {record.access.url} ({record.access.licence}{registration}), put or "
            f"link it at DAL_RAW/{root.name}, and run {command}"
        )
    return Absent(record.name, record.access.licence, record.access.url, remedy)


def shared_cases_of(
    evaluated: Mapping[str, Collection[str]],
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """Cases to leave out so that no scan counts in two datasets, and where that cannot be told.

    Parameters
    ----------
    evaluated : dataset → its case ids

    Returns
    -------
    (dataset → case ids, remarks)
    """
    shared: dict[str, set[str]] = {}
    remarks: list[str] = []
    concerned = sorted(set(COLLECTIONS.values()) & set(evaluated))
    if not concerned:
        return {}, []
    try:
        overlap = find_overlap(paths.raw())
    except DalError as error:
        return {}, [str(error)]
    for dataset in concerned:
        names = {dataset, BRATS} & set(evaluated)
        try:
            left_out = cases_to_leave_out(overlap, {name: evaluated[name] for name in names})
        except UsageError as error:
            remarks.append(str(error))
            continue
        for name, cases in left_out.items():
            shared.setdefault(name, set()).update(cases)
    return {name: frozenset(cases) for name, cases in shared.items()}, remarks


def _preprocessed() -> list[str]:
    return sorted(path.parent.name for path in paths.preprocessed().glob("*/preprocessing.json"))


def _folder_name(name: str) -> str:
    """The preprocessed folder that the user means, in any case of letters."""
    there = {path.name.lower(): path.name for path in paths.preprocessed().glob("*")}
    return there.get(name.lower(), name)
