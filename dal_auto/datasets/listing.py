"""What is known, and what of it lies in DAL_RAW: one row per dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from dal_auto.datasets.registry import dataset_root, datasets_on_disk, load_records, look_up
from dal_auto.errors import DalError


def known_datasets(raw: Path) -> pd.DataFrame:
    """One row per dataset, known or in DAL_RAW: what is there, and where to get it.

    Columns: dataset, role, found (cases, "no" or "faulty"), expected (cases in a complete
    download), patients, sequences ("T1 581, T2 578"), masks, url, licence, remarks (what is wrong,
    or odd, in words).
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
        "patients": "",
        "sequences": "",
        "masks": "",
        "url": record.access.url if record else "",
        "licence": record.access.licence if record else "",
        "remarks": "",
    }
    if not dataset_root(name, raw).is_dir():
        return row
    try:
        dataset = look_up(name, raw)
    except DalError as error:
        return row | {"found": "faulty", "remarks": str(error)}
    if dataset.record is not None and record is None:  # a record of the user's own
        own = dataset.record
        row |= {
            "role": own.role,
            "expected": own.expected.cases or "",
            "url": own.access.url,
            "licence": own.access.licence,
        }
    counts = Counter(sequence for case in dataset.cases for sequence in case.sequences)
    patients = len({case.patient_id for case in dataset.cases})
    found = f"{len(dataset.cases)}{' simulated' if dataset.simulated else ''}"
    return row | {
        "found": found,
        "patients": patients if dataset.patients_known else "?",
        "sequences": ", ".join(f"{name} {number}" for name, number in sorted(counts.items())),
        "masks": sum(case.lesion_mask is not None for case in dataset.cases),
        "remarks": "; ".join(map(str, dataset.found.remarks)) if dataset.found else "",
    }
