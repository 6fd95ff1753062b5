"""Standard cases on disk: one ``.b2nd`` (blosc2) with the voxels and one ``.json`` per case.

The array is float16 (channel, x, y, z): the sequences, then the brain mask, then the lesion mask
where there is one, then the part of the brain that is shown by each sequence that does not show all
of it. The JSON is written last: a case without it is not there. What differs from run
to run (seconds, dates) is never in either, so that results compare byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import blosc2
import numpy as np
from pydantic import Field

from dal_auto.case import Geometry, StandardCase
from dal_auto.errors import InputError
from dal_auto.store.atomic import replacing
from dal_auto.store.kept import Kept

_AGAIN = "Delete both files of the case and run dal_plan_and_preprocess again."


class CaseRecord(Kept):
    """The JSON half of a stored case: everything but the voxels.

    Parameters
    ----------
    path : where it was read
    geometry, scale, percentiles, quality, steps : see `StandardCase`
    partial : the sequences that do not show the whole brain
    hash : of all that the case was made from: inputs, steps, plan, versions of the tools
    array_sha256 : of the voxels' bytes
    """

    path: Path = Field(default=Path(), exclude=True)
    dataset: str
    case_id: str
    patient_id: str
    sequences: tuple[str, ...]
    has_lesion_mask: bool
    geometry: Geometry
    scale: dict[str, int | float]
    percentiles: dict[str, tuple[float, ...]]
    quality: dict[str, int | float]
    steps: tuple[str, ...]
    partial: tuple[str, ...] = ()
    hash: str
    array_sha256: str


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
    channels += case.shown.values()
    array = np.stack([np.asarray(channel, np.float16) for channel in channels])
    path = folder / f"{case.case_id}.json"
    with replacing(folder / f"{case.case_id}.b2nd") as temporary:
        _write_blosc2(temporary, array)
        # From here to the rename of its record the case is not there: the old one describes others.
        path.unlink(missing_ok=True)
    record = CaseRecord(
        path=path,
        dataset=case.dataset,
        case_id=case.case_id,
        patient_id=case.patient_id,
        sequences=case.sequences,
        has_lesion_mask=case.lesion_mask is not None,
        geometry=case.geometry,
        scale=dict(case.scale),
        percentiles=dict(case.percentiles),
        quality=dict(case.quality),
        steps=case.steps,
        partial=tuple(case.shown),
        hash=inputs_hash,
        array_sha256=hashlib.sha256(array.tobytes()).hexdigest(),
    )
    record.write(path)


def retire(record: Path) -> None:
    """Take a case out of the dataset; its files stay, for `reinstate`, should they fit again."""
    with suppress(FileNotFoundError):
        record.replace(_retired(record))


def reinstate(record: Path) -> bool:
    """Put back the record that `retire` took out, unless there is a newer one; whether it did."""
    if not record.exists():
        with suppress(FileNotFoundError):
            _retired(record).replace(record)
            return True
    return False


def _retired(record: Path) -> Path:
    return record.with_name(f"{record.name}.old")


def read_record(path: Path) -> CaseRecord:
    """Read the JSON half of a case."""
    try:
        return CaseRecord.read(path).model_copy(update={"path": path})
    except (OSError, ValueError) as error:  # not there, not UTF-8, or no such record
        raise InputError(path, f"it is no record of a case ({error})", _AGAIN) from error


def case_ids(folder: Path) -> set[str]:
    """The cases in a folder that have a record."""
    return {path.stem for path in folder.glob("[!.]*.json")}


def read_records(folder: Path, wanted: Collection[str] | None = None) -> list[CaseRecord]:
    """The complete cases in a folder, sorted by case id.

    Parameters
    ----------
    wanted : those that count, whatever else lies there; None for all
    """
    paths = sorted(folder.glob("[!.]*.json"))
    return [read_record(path) for path in paths if wanted is None or path.stem in wanted]


def healthy_records(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """Cases of patients none of whose cases has a lesion mask: a visit before a lesion was drawn is
    not healthy."""
    several = list(records)
    ill = {record.patient_id for record in several if record.has_lesion_mask}
    return [record for record in several if record.patient_id not in ill]


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
    count = len(record.sequences)
    masks = array[count:] > 0
    return StandardCase(
        dataset=record.dataset,
        case_id=record.case_id,
        patient_id=record.patient_id,
        sequences=record.sequences,
        images=array[:count].astype(np.float32),
        brain_mask=masks[0],
        lesion_mask=masks[1] if record.has_lesion_mask else None,
        geometry=record.geometry,
        scale=record.scale,
        percentiles=record.percentiles,
        quality=record.quality,
        steps=record.steps,
        shown=dict(zip(record.partial, masks[1 + record.has_lesion_mask :], strict=True)),
    )
