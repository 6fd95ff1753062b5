"""A list of cases as a JSON or CSV file → cases, for ``dal_predict -i LIST``.

One entry (JSON) or line (CSV) per case: ``case``, then a file for each sequence (``T1``, ``T2``,
``FLAIR``, or as in `filenames.SYNONYMS`), relative to the list's folder. May stand beside them:
``patient``, ``brain_mask``, and what was done already: ``stripped``, ``registered``,
``bias_corrected``, ``coregistered`` (true or false).

MONAI's lists are read as well: an object with ``testing``, ``test``, ``validation`` or
``training``, whose entries have ``image``: a file, or one per channel. The names of the files tell
the sequences, else ``modality`` or ``channel_names`` do; channels of other sequences are left out.
``label`` and ``fold`` are not needed, and left alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.filenames import SYNONYMS, sequence_of, stem_of
from dal_auto.errors import InputError
from dal_auto.schema import is_file_name

DATASET = "list"
_LISTS = ("cases", "testing", "test", "validation", "training")
_CLAIMS = tuple(claim.name for claim in fields(ClaimedState))
_OTHERS = ("case", "patient", "brain_mask", *_CLAIMS)
_IGNORED = ("label", "fold")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KNOWN = f"Known: case, T1, T2, FLAIR, image, {', '.join(_OTHERS[1:])}."
_ENDING = re.compile(rf"[_-]+({'|'.join(SYNONYMS)}|\d{{4}})$", re.IGNORECASE)
_MOST_SHOWN = 5


@dataclass(frozen=True)
class _Entry:
    """A line of the list, and how to name it in an error."""

    place: str
    content: Mapping[str, Any]
    channels: Mapping[int, str] = field(default_factory=dict)


def is_list(path: Path) -> bool:
    """Whether `path` is to be read as a list: by its name, unless it is a folder."""
    return path.suffix.lower() in (".json", ".csv") and not path.is_dir()


def find_cases(path: Path, sequence: str | None = None) -> list[RawCase]:
    """The cases of a list, in its order.

    Parameters
    ----------
    sequence : of the files under ``image``, where neither their names nor the list say it

    Raises
    ------
    InputError
        if the list cannot be read or is empty, names an unknown column, a case twice or without an
        image, or files that are not there. The line (CSV) or entry (JSON) is named.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_json
    cases: list[RawCase] = []
    places: dict[str, str] = {}
    missing: list[str] = []
    for entry in read(path):
        case = _case(path, entry, sequence)
        if case.case_id in places:
            raise InputError(
                path,
                f"{entry.place}: case {case.case_id} stands at {places[case.case_id]} already",
                "Give every case an id of its own.",
            )
        places[case.case_id] = entry.place
        cases.append(case)
        files = [*case.sequences.values(), *([case.brain_mask] if case.brain_mask else [])]
        missing += [f"{entry.place}: {file}" for file in files if not _is_there(file)]
    if not cases:
        raise InputError(path, "it lists no case", _KNOWN)
    if missing:
        shown = "; ".join(missing[:_MOST_SHOWN]) + ("; …" if len(missing) > _MOST_SHOWN else "")
        raise InputError(
            path,
            f"{len(missing)} of its files are not there ({shown})",
            "Paths are relative to the folder of the list.",
        )
    return cases


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name longer than any file's, a folder that may not be read
        return False


def _case(path: Path, entry: _Entry, sequence: str | None) -> RawCase:
    """One entry as a case."""
    content = entry.content
    images: dict[str, Path] = {}

    def add(name: str, file: Any) -> None:
        if not isinstance(file, str):
            raise _error(path, entry, f"the file of {name} is {file!r}", "Give a path.")
        if name in images:
            raise _error(path, entry, f"it has a second {name}, {file}", "Keep one of the two.")
        images[name] = path.parent / file

    for key, value in content.items():
        if (name := sequence_of(key)) is not None:
            if value not in ("", None):
                add(name, value)
        elif key == "image":
            for number, file in enumerate(value if isinstance(value, list) else [value]):
                found = _sequence_of_image(path, entry, number, file, sequence)
                if found is not None:
                    add(found, file)
        elif key not in (*_OTHERS, *_IGNORED):
            raise _error(path, entry, f"unknown column {key!r}", _KNOWN)
    if not images:
        raise _error(path, entry, "it has no image", "Name a file under T1 or T2.")
    case_id = _word(path, entry, "case") or _id_of(images)
    if not is_file_name(case_id):
        raise _error(path, entry, f"{case_id!r} is no name for files", "Give a plain case id.")
    brain = content.get("brain_mask") or None
    return RawCase(
        DATASET,
        case_id,
        _word(path, entry, "patient") or case_id,
        dict(sorted(images.items())),
        brain_mask=None if brain is None else path.parent / str(brain),
        claims=ClaimedState(**{name: _truth(path, entry, content, name) for name in _CLAIMS}),
    )


def _word(path: Path, entry: _Entry, key: str) -> str:
    value = entry.content.get(key)
    if value is None:
        return ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not (is_number and math.isfinite(value)):
        raise _error(path, entry, f"{key} is {value!r}", "Write a name or a number.")
    return str(value).strip()


def _sequence_of_image(
    path: Path, entry: _Entry, number: int, file: Any, sequence: str | None
) -> str | None:
    """What the file's name says, else the list's channels, else the user; None: not for us."""
    match = _ENDING.search(stem_of(Path(str(file))) or "")
    named = sequence_of(match[1]) if match else None
    if named is None and number in entry.channels:
        # A list may name its only channel "MRI": then it is what the user says.
        alone = sequence if len(entry.channels) == 1 else None
        return sequence_of(entry.channels[number]) or alone
    found = named or sequence
    if found is None:
        raise _error(
            path,
            entry,
            f"the sequence of {file} can be told neither from its name nor from channel_names",
            "Name it under T1 or T2 instead of image, or say --sequence T1 if all are T1.",
        )
    return found


def _id_of(images: Mapping[str, Path]) -> str:
    """The first file's name, without what tells the sequence."""
    first = next(iter(images.values()))
    return _ENDING.sub("", stem_of(first) or first.stem)


def _truth(path: Path, entry: _Entry, content: Mapping[str, Any], name: str) -> bool | None:
    value = content.get(name)
    if value is None or value == "":
        return None
    found = _TRUTH.get(str(value).strip().lower())
    if found is None:
        raise _error(path, entry, f"{name} is {value!r}", "Write true or false.")
    return found


def _error(path: Path, entry: _Entry, finding: str, remedy: str) -> InputError:
    return InputError(path, f"{entry.place}: {finding}", remedy)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(path, f"the list cannot be read ({reason})", "Check it.") from error


def _read_csv(path: Path) -> Iterator[_Entry]:
    """Comma, semicolon (Excel's in many countries) or tab; blank lines are skipped."""
    text = _text(path)
    head = next(iter(text.splitlines()), "")
    separator = max((",", ";", "\t"), key=head.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in table.fieldnames or ()]
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise InputError(
                path, f"line 1: the column {twice!r} stands there twice", "Keep one of the two."
            )
        table.fieldnames = names
        for row in table:
            if not row.get("", "x"):
                del row[""]  # empty columns, as Excel leaves them
            if not any(value for value in row.values()):
                continue
            if None in row or None in row.values():
                raise InputError(
                    path,
                    f"line {table.line_num}: it has not as many fields as the first line",
                    "Mend the line.",
                )
            yield _Entry(f"line {table.line_num}", {k: v.strip() for k, v in row.items()})
    except csv.Error as error:
        place = f"line {table.reader.line_num}"
        raise InputError(path, f"{place}: {error}", "Mend the line.") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, its keys without blanks around them."""
    found = dict[str, Any]()
    for key, value in pairs:
        name = key.strip()
        if name in found:
            raise ValueError(f"{name!r} stands twice in one entry")
        found[name] = value
    return found


def _read_json(path: Path) -> Iterator[_Entry]:
    try:
        content = json.loads(_text(path), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not readable as JSON ({error})", "Correct it.") from None
    channels: dict[int, str] = {}
    if isinstance(content, dict):
        names = content.get("channel_names", content.get("modality"))
        if isinstance(names, dict):
            channels = {int(n): str(name) for n, name in names.items() if str(n).isdigit()}
        content = next((content[name] for name in _LISTS if name in content), None)
    if not isinstance(content, list):
        raise InputError(
            path,
            "it is neither a list of cases nor an object that holds one",
            'Write [{"case": "a", "T1": "a_T1.nii.gz"}, …].',
        )
    for number, one in enumerate(content, 1):
        entry = {"image": one} if isinstance(one, str) else one
        if not isinstance(entry, dict):
            raise InputError(path, f"entry {number} is {one!r}", "Each entry is an object.")
        yield _Entry(f"entry {number}", entry, channels)
