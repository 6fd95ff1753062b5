"""Standard cases on disk: one ``.b2nd`` (blosc2) with the voxels and one ``.json`` per case.

The array is float16 (channel, x, y, z): the sequences, then the brain mask, then the lesion mask
where there is one. The JSON is written last: a case without it is not there. What differs from run
to run (seconds, dates) is never in either, so that results compare byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from dal_auto.case import Geometry, StandardCase
from dal_auto.errors import InputError
from dal_auto.store.atomic import replacing, write_json

_AGAIN = "Delete both files of the case and run dal_plan_and_preprocess again."


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """The JSON half of a stored case: everything but the voxels."""

    path: Path
    content: Mapping[str, Any]

    @property
    def case_id(self) -> str:
        return str(self.content["case_id"])

    @property
    def patient_id(self) -> str:
        return str(self.content["patient_id"])

    @property
    def sequences(self) -> tuple[str, ...]:
        return tuple(self.content["sequences"])

    @property
    def has_lesion_mask(self) -> bool:
        return bool(self.content["has_lesion_mask"])

    @property
    def percentiles(self) -> dict[str, tuple[float, ...]]:
        return {name: tuple(values) for name, values in self.content["percentiles"].items()}

    @property
    def hash(self) -> str:
        """Hash of the inputs, the steps and the tools' versions that made the case."""
        return str(self.content["hash"])

    @property
    def array_sha256(self) -> str:
        return str(self.content["array_sha256"])


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as blosc2, one chunk per channel (first axis), atomically."""
    with replacing(path) as temporary:
        _write_blosc2(temporary, array)


def _write_blosc2(path: Path, array: np.ndarray) -> None:
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(path),
        mode="w",
        chunks=(1, *array.shape[1:]),
        cparams=blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=5, nthreads=1),
    )


def read_array(path: Path) -> np.ndarray:
    """Read an array that `write_array` wrote."""
    try:
        return blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))[:]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(path, f"it cannot be read as blosc2 ({error})", _AGAIN) from error


def write_case(folder: Path, case: StandardCase, inputs_hash: str) -> None:
    """Write both files of a case into `folder`.

    An old record goes when the new voxels are whole, not before.
    """
    channels = [*case.images, case.brain_mask]
    if case.lesion_mask is not None:
        channels.append(case.lesion_mask)
    array = np.stack([np.asarray(channel, np.float16) for channel in channels])
    record = folder / f"{case.case_id}.json"
    with replacing(folder / f"{case.case_id}.b2nd") as temporary:
        _write_blosc2(temporary, array)
        # From here to the rename of its record the case is not there: the old one describes others.
        record.unlink(missing_ok=True)
    write_json(
        record,
        {
            "dataset": case.dataset,
            "case_id": case.case_id,
            "patient_id": case.patient_id,
            "sequences": list(case.sequences),
            "has_lesion_mask": case.lesion_mask is not None,
            "geometry": case.geometry.to_json(),
            "scale": dict(case.scale),
            "percentiles": {name: list(values) for name, values in case.percentiles.items()},
            "quality": dict(case.quality),
            "steps": list(case.steps),
            "hash": inputs_hash,
            "array_sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        },
    )


def retire(record: Path) -> None:
    """Take a case out of the dataset; its files stay, for `reinstate`, should they fit again."""
    with suppress(FileNotFoundError):
        record.replace(_retired(record))


def reinstate(record: Path) -> None:
    """Put back the record that `retire` took out, unless there is a newer one."""
    if not record.exists():
        with suppress(FileNotFoundError):
            _retired(record).replace(record)


def _retired(record: Path) -> Path:
    return record.with_name(f"{record.name}.old")


def read_record(path: Path) -> CaseRecord:
    """Read the JSON half of a case."""
    try:
        return CaseRecord(path, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # not there, not UTF-8, or not JSON
        raise InputError(path, f"it is no record of a case ({error})", _AGAIN) from error


def read_records(folder: Path) -> list[CaseRecord]:
    """All complete cases in a folder, sorted by case id."""
    return [read_record(path) for path in sorted(folder.glob("[!.]*.json"))]


def read_case(record: CaseRecord) -> StandardCase:
    """Read the voxels that belong to `record`, and check that they are the ones it was written for.

    Raises
    ------
    InputError
        if the voxels are missing, damaged, or of another run.
    """
    path = record.path.with_suffix(".b2nd")
    array = read_array(path)
    if hashlib.sha256(array.tobytes()).hexdigest() != record.array_sha256:
        raise InputError(path, "its voxels are not those its record describes", _AGAIN)
    content, count = record.content, len(record.sequences)
    return StandardCase(
        dataset=content["dataset"],
        case_id=record.case_id,
        patient_id=record.patient_id,
        sequences=record.sequences,
        images=array[:count].astype(np.float32),
        brain_mask=array[count] > 0,
        lesion_mask=array[count + 1] > 0 if record.has_lesion_mask else None,
        geometry=Geometry.from_json(content["geometry"]),
        scale=content["scale"],
        percentiles=record.percentiles,
        quality=content["quality"],
        steps=tuple(content["steps"]),
    )
