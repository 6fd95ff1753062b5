"""Which datasets are known, and which lie in DAL_RAW."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from dal_auto.case import RawCase
from dal_auto.datasets import bids, nnunet
from dal_auto.datasets.drawn import is_drawn
from dal_auto.datasets.record import OWN_RECORD, DatasetRecord, read_record
from dal_auto.datasets.search import Found, Remark, search
from dal_auto.datasets.sheets import find_sheet, read_sheet
from dal_auto.errors import DalError, InputError, UsageError, did_you_mean

logger = logging.getLogger(__name__)

RECORDS = Path(__file__).parent / "records"
_SIMULATOR = "dal_auto simulate"
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk.

    Parameters
    ----------
    name : as in its record; of others, the name of the folder
    root : its folder
    record : None for a BIDS or nnU-Net folder that is not a known dataset
    cases : sorted by id
    simulated : its description says that dal_auto simulated it
    kind : how it was read
    found : what the record's search says beside the cases; None of BIDS and nnU-Net folders
    patients_known : whether `patient_id` tells patients; else every case counts as one
    """

    name: str
    root: Path
    record: DatasetRecord | None
    cases: tuple[RawCase, ...]
    simulated: bool
    kind: Literal["record", "bids", "nnunet"]
    found: Found | None = None
    patients_known: bool = True


@cache
def load_records() -> dict[str, DatasetRecord]:
    """Name → record of every public dataset that dal_auto knows, sorted by name."""
    records = [read_record(path) for path in sorted(RECORDS.glob("*.json"))]
    return {record.name: record for record in sorted(records, key=lambda r: r.name.lower())}


def dataset_root(name: str, raw: Path) -> Path:
    """``DAL_RAW/<Dataset>``, found in any case of letters; it need not exist."""
    canonical = _known_name(name) or name
    if (raw / canonical).is_dir():
        return raw / canonical
    return next((f for f in _folders(raw) if f.name.lower() == name.lower()), raw / canonical)


def datasets_on_disk(raw: Path) -> list[str]:
    """Names of all datasets in DAL_RAW: known ones, described ones, BIDS and nnU-Net folders."""
    return [_known_name(f.name) or f.name for f in _folders(raw) if _is_dataset(f)]


def find_dataset(name: str, raw: Path) -> Dataset:
    """A dataset by its name, in any case of letters; what is odd about it is logged.

    Its own record (``dal_record.json`` in its folder) comes first, then ours, then BIDS, nnU-Net.

    Raises
    ------
    UsageError
        if the name is unknown, or the dataset is known but not on disk.
    InputError
        if its folder holds no case, or a bad one.
    """
    dataset = look_up(name, raw)
    for remark in dataset.found.remarks if dataset.found else ():
        logger.warning("%s: %s", dataset.name, remark)
    return dataset


def look_up(name: str, raw: Path) -> Dataset:
    """As `find_dataset`, in silence: remarks are those of `Dataset.found`."""
    root, record = dataset_root(name, raw), record_of(name, raw)
    if not root.is_dir():
        raise UsageError(_not_on_disk(record, root) if record else _unknown(name, raw))
    simulated = _is_simulated(root)
    if record is not None and (found := search(record, root)):
        patients, remarks = _patients(record, found, root)
        known_cases = {} if patients is None else patients
        cases = tuple(
            replace(case, patient_id=known_cases.get(case.case_id, case.patient_id))
            for case in found.cases
        )
        found = replace(found, cases=cases, remarks=(*found.remarks, *remarks))
        return Dataset(
            record.name, root, record, cases, simulated, "record", found, patients is not None
        )
    # A known dataset that someone has converted is still read, without the record's claims.
    own_name = record.name if record else root.name
    if bids.is_bids(root) and (read := bids.find_cases(root, own_name)):
        return Dataset(own_name, root, None, tuple(read), simulated, "bids")
    if nnunet.is_nnunet(root) and (read := nnunet.find_cases(root, own_name)):
        return Dataset(own_name, root, None, tuple(read), simulated, "nnunet")
    raise InputError(root, "no case was found in it", _expected_layout(record, root))


def _patients(
    record: DatasetRecord, found: Found, root: Path
) -> tuple[Mapping[str, str] | None, list[Remark]]:
    """Case id → patient by the dataset's table, and remarks; None if patients are not known."""
    table = record.patient_table
    if table is None or table.layout != found.layout.id:
        return {}, []
    path = find_sheet(table.file, [root])
    if path is None:
        return None, []  # usual, and no fault: `dal_datasets check` says what is missing
    try:
        rows = read_sheet(path, (table.case_column, table.patient_column))
    except DalError as error:
        return None, [Remark(f"patients are not known, every case counts as one: {error}")]
    told = {
        case_id: match[0]
        for case_id, text in rows.itertuples(index=False)
        if (match := re.search(table.patient_regex, text))
    }
    lacking = sorted({case.case_id for case in found.cases} - set(told))
    words = f"{path.name} does not tell the patients of {len(lacking)} cases"
    return told, [Remark(words, tuple(lacking))] if lacking else []


def _folders(raw: Path) -> list[Path]:
    if not raw.is_dir():
        return []
    return sorted(f for f in raw.iterdir() if f.is_dir() and not f.name.startswith("."))


def _known_name(name: str) -> str | None:
    return next((known for known in load_records() if known.lower() == name.lower()), None)


def _is_dataset(folder: Path) -> bool:
    return (
        _known_name(folder.name) is not None
        or (folder / OWN_RECORD).is_file()
        or bids.is_bids(folder)
        or nnunet.is_nnunet(folder)
    )


def record_of(name: str, raw: Path) -> DatasetRecord | None:
    """A dataset's own record where its folder is at hand, else ours; None where there is neither.

    Raises
    ------
    InputError
        if its own record cannot be read, or has the name of another folder.
    """
    root, known = dataset_root(name, raw), _known_name(name)
    if not (root / OWN_RECORD).is_file():
        return load_records()[known] if known else None
    record = read_record(root / OWN_RECORD)
    if record.name.lower() != root.name.lower():
        raise InputError(
            root / OWN_RECORD,
            f"name is {record.name!r}, but the folder is called {root.name!r}",
            "Give both one name.",
        )
    return record


def is_simulated(name: str, raw: Path) -> bool:
    """Whether dal_auto simulated a dataset: its description says so, or it is drawn in training."""
    if is_drawn(name):
        return True
    return _is_simulated(dataset_root(name, raw))


def _is_simulated(root: Path) -> bool:
    try:
        content = json.loads((root / "dataset_description.json").read_text(encoding="utf-8-sig"))
        makers = [str(maker["Name"]) for maker in content["GeneratedBy"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return any(name.startswith(_SIMULATOR) for name in makers)


def _unknown(name: str, raw: Path) -> str:
    there = [folder.name for folder in _folders(raw)]
    hint = did_you_mean(name, [*there, *load_records()])
    return (
        f"unknown dataset {name!r}.{hint} Known: {', '.join(load_records())}. "
        f"In {raw}: {', '.join(there) or 'nothing'}. Put a BIDS or nnU-Net folder there, or "
        f"describe your own layout in {raw / name / OWN_RECORD}."
    )


def _not_on_disk(record: DatasetRecord, root: Path) -> str:
    registration = ", after registration" if record.access.registration else ""
    return (
        f"{record.name} is not on disk. Download it from {record.access.url} "
        f"({record.access.licence}{registration}) and put or link it at {root}."
    )


def _expected_layout(record: DatasetRecord | None, root: Path) -> str:
    archives = sorted(
        path.relative_to(root).as_posix()
        for pattern in ("*", "*/*")
        for path in root.glob(pattern)
        if path.name.endswith(_ARCHIVES)
    )
    unpack = f" Unpack {', '.join(archives[:3])} first." if archives else ""
    if record is None:
        return (
            "It must be a BIDS folder (sub-*/anat), an nnU-Net folder (dataset.json, imagesTr), "
            f"or hold a {OWN_RECORD} that describes it.{unpack}"
        )
    rules = [
        f"{'folders' if layout.case.kind == 'directory' else 'files'} "
        + (f"such as {layout.case.example}" if layout.case.example else layout.case.regex)
        for layout in record.layouts
    ]
    skipped = {name: why for layout in record.layouts for name, why in layout.skip.items()}
    listed = ", ".join(f"{name} ({why})" for name, why in sorted(skipped.items()))
    not_searched = f"; not searched: folders named {listed}" if skipped else ""
    names = " or ".join(dict.fromkeys(rules))
    return f"{record.name} is recognised by {names}, at any depth{not_searched}.{unpack}"
