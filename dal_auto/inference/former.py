"""Maps of before, out of the way: of a case that failed since, or of other scans of its name.

They lie in `OLD`, below the output folder, under the same names; each group of scans has a folder
of its own there, so that none takes another's place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dal_auto.inference.record import PredictionRecord, Scan, read_record, record_path

OLD = "old"
#: Of a record of another version, which does not say of which scans it is.
_UNKNOWN = "earlier"
#: Of a run that was killed while it wrote.
_UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Former:
    """What an earlier run wrote for a case.

    Parameters
    ----------
    scans : by sequence; empty where a record of another version does not say
    files : below the output folder
    """

    scans: Mapping[str, Scan]
    files: tuple[str, ...]

    @property
    def group(self) -> str:
        """Name of the folder for what is of these scans."""
        if not self.scans:
            return _UNKNOWN
        digests = " ".join(f"{name} {scan.sha256}" for name, scan in sorted(self.scans.items()))
        return hashlib.sha256(digests.encode()).hexdigest()[:8]

    def is_of(self, scans: Mapping[str, Scan]) -> bool:
        """Whether it may be of these scans: the same file in every sequence that both have."""
        both = self.scans.keys() & scans.keys()
        return not self.scans or (
            bool(both) and all(self.scans[name].sha256 == scans[name].sha256 for name in both)
        )


def set_aside(output: Path, case_id: str) -> tuple[Former, ...]:
    """Move what is there of a case into `OLD`, file by file.

    No table and no page has it then, and nobody takes its maps for those of another scan. The
    record goes first, so that what is left by a run that was killed is moved by the next one.

    Returns
    -------
    what was moved, of each group of scans: one, unless runs were killed
    """
    path, just_now = record_path(output, case_id), None
    if (record := _read(path)) is not None:
        just_now = output / OLD / record.group
        _forget(just_now, case_id)
        _move(path, record_path(just_now, case_id))
    path.unlink(missing_ok=True)  # one that is damaged names no files
    found = []
    for folder, former in _formers(output, case_id):
        # What is there a second time is half a case, of a run that was killed while it wrote.
        left = [name for name in former.files if (output / name).exists()]
        left = [name for name in left if not (folder / name).exists()]
        for name in left:
            _move(output / name, folder / name)
        if left or folder == just_now:
            found.append(former)
    return tuple(found)


def set_aside_unfinished(output: Path, names: Iterable[str]) -> bool:
    """Move files that no record has into `OLD`, such as those of a run that was killed; whether
    there were any.

    Parameters
    ----------
    names : of files below the output folder
    """
    there = [name for name in names if (output / name).is_file()]
    for name in there:
        _move(output / name, output / OLD / _UNFINISHED / name)
    return bool(there)


def forget_unfinished(output: Path, names: Iterable[str]) -> None:
    """Remove what `set_aside_unfinished` moved, once the case is whole."""
    for name in names:
        (output / OLD / _UNFINISHED / name).unlink(missing_ok=True)


def settle(output: Path, case_id: str) -> None:
    """After the case's new record is there: remove what it replaces from `OLD`. What is of other
    scans stays."""
    new = read_record(output, case_id)
    for folder, former in _formers(output, case_id):
        if new is not None and former.is_of(new.scans):
            _forget(folder, case_id)


def remove_empty(output: Path) -> None:
    """Remove the folders in `OLD` that hold nothing any more."""
    for folder, _, _ in os.walk(output / OLD, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def _formers(output: Path, case_id: str) -> Iterator[tuple[Path, Former]]:
    """Each group of scans' folder in `OLD`, and what it has of the case."""
    for folder in sorted((output / OLD).glob("*")):
        if (former := _read(record_path(folder, case_id))) is not None:
            yield folder, former


def _read(path: Path) -> Former | None:
    """From a record of this version or of another, as far as it tells."""
    try:
        text = path.read_text(encoding="utf-8")
        files = tuple(name for name in json.loads(text)["files"] if _is_below(name))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    with suppress(ValueError):
        return Former(PredictionRecord.model_validate_json(text).scans, files)
    return Former({}, files)


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file.replace(target)


def _forget(folder: Path, case_id: str) -> None:
    former = _read(record_path(folder, case_id))
    for name in former.files if former is not None else ():
        (folder / name).unlink(missing_ok=True)
    record_path(folder, case_id).unlink(missing_ok=True)
