"""Which datasets are known, and which lie in DAL_RAW."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd

from dal_auto.case import RawCase
from dal_auto.datasets import bids, nnunet
from dal_auto.datasets.record import OWN_RECORD, DatasetRecord, read_record
from dal_auto.datasets.search import find_cases
from dal_auto.errors import DalError, InputError, UsageError

logger = logging.getLogger(__name__)

RECORDS = Path(__file__).parent / "records"
_SIMULATOR = "dal_auto simulate"


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
    """

    name: str
    root: Path
    record: DatasetRecord | None
    cases: tuple[RawCase, ...]
    simulated: bool
    kind: Literal["record", "bids", "nnunet"]


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
    """A dataset by its name, in any case of letters.

    Its own record (``dal_record.json`` in its folder) comes first, then ours, then BIDS, nnU-Net.

    Raises
    ------
    UsageError
        if the name is unknown, or the dataset is known but not on disk.
    InputError
        if its folder holds no case, or a bad one.
    """
    root, known = dataset_root(name, raw), _known_name(name)
    record = load_records()[known] if known else None
    if not root.is_dir():
        raise UsageError(_not_on_disk(record, root) if record else _unknown(name, raw))
    if (root / OWN_RECORD).is_file():
        record = read_record(root / OWN_RECORD)
        if record.name.lower() != root.name.lower():
            raise InputError(
                root / OWN_RECORD,
                f"name is {record.name!r}, but the folder is called {root.name!r}",
                "Give both one name.",
            )
    simulated = _is_simulated(root)
    if record is not None and (cases := find_cases(record, root)):
        return Dataset(record.name, root, record, tuple(cases), simulated, "record")
    # A known dataset that someone has converted is still read, without the record's claims.
    own_name = record.name if record else root.name
    if bids.is_bids(root) and (cases := bids.find_cases(root, own_name)):
        return Dataset(own_name, root, None, tuple(cases), simulated, "bids")
    if nnunet.is_nnunet(root) and (cases := nnunet.find_cases(root, own_name)):
        return Dataset(own_name, root, None, tuple(cases), simulated, "nnunet")
    raise InputError(root, "no case was found in it", _expected_layout(record))


def known_datasets(raw: Path) -> pd.DataFrame:
    """One row per dataset, known or in DAL_RAW: what is there, and where to get it.

    Columns: dataset, role, found (cases, "no", or what is wrong), expected (cases in a complete
    download), sequences ("T1 581, T2 578"), masks, url, licence.
    """
    names = [*load_records(), *(n for n in datasets_on_disk(raw) if n not in load_records())]
    return pd.DataFrame([_row(name, raw) for name in names])


def _row(name: str, raw: Path) -> dict[str, object]:
    record = load_records().get(name)
    row: dict[str, object] = {
        "dataset": name,
        "role": record.role if record else "",
        "found": "no",
        "expected": (record.expected.cases if record else None) or "",
        "sequences": "",
        "masks": "",
        "url": record.access.url if record else "",
        "licence": record.access.licence if record else "",
    }
    if not dataset_root(name, raw).is_dir():
        return row
    try:
        dataset = find_dataset(name, raw)
    except DalError as error:
        return row | {"found": f"faulty: {error}"}
    counts = Counter(sequence for case in dataset.cases for sequence in case.sequences)
    found = f"{len(dataset.cases)}{' simulated' if dataset.simulated else ''}"
    return row | {
        "found": found,
        "sequences": ", ".join(f"{name} {number}" for name, number in sorted(counts.items())),
        "masks": sum(case.lesion_mask is not None for case in dataset.cases),
    }


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


def _is_simulated(root: Path) -> bool:
    try:
        content = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
        makers = [str(maker["Name"]) for maker in content["GeneratedBy"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return any(name.startswith(_SIMULATOR) for name in makers)


def _unknown(name: str, raw: Path) -> str:
    there = [folder.name for folder in _folders(raw)]
    known = {candidate.lower(): candidate for candidate in [*there, *load_records()]}
    near = get_close_matches(name.lower(), known, n=1)
    hint = f" Did you mean {known[near[0]]}?" if near else ""
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


def _expected_layout(record: DatasetRecord | None) -> str:
    if record is None:
        return (
            "It must be a BIDS folder (sub-*/anat), an nnU-Net folder (dataset.json, imagesTr), "
            f"or hold a {OWN_RECORD} that describes it."
        )
    rules = " or ".join(
        f"{'folders' if layout.case.kind == 'directory' else 'files'} {layout.case.regex}"
        for layout in record.layouts
    )
    skipped = sorted({name for layout in record.layouts for name in layout.skip})
    not_searched = f"; not searched: folders named {', '.join(skipped)}" if skipped else ""
    return f"{record.name} is recognised by {rules}, at any depth{not_searched}."
