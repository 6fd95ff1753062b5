"""What one layout of a record finds in a folder: every case, in every place in which it lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from glob import escape
from pathlib import Path

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.filenames import walk
from dal_auto.datasets.record import DatasetRecord, Layout, Patterns
from dal_auto.errors import InputError


@dataclass
class Candidate:
    """A case in one place."""

    place: Path
    case: RawCase
    subset: str | None
    automated: bool = False


@dataclass
class Attempt:
    """What one layout finds: case id → the places in which it is, and what went wrong.

    `hollow` are the ids whose folder holds no image; `fault` makes the layout unusable.
    """

    layout: Layout
    candidates: dict[str, list[Candidate]] = field(default_factory=dict)
    hollow: set[str] = field(default_factory=set)
    fault: InputError | None = None

    @property
    def complete(self) -> int:
        wanted = len(self.layout.sequences)
        return sum(len(c[0].case.sequences) == wanted for c in self.candidates.values())


def collect(record: DatasetRecord, layout: Layout, root: Path) -> Attempt:
    """Search the whole tree below `root`, without choosing between places.

    Raises
    ------
    InputError
        if a case's folder has two files for one image, or cannot be listed.
    """
    attempt = Attempt(layout)
    by_folder = layout.case.kind == "directory"
    (_case_folders if by_folder else _case_files)(record, root, attempt)
    return attempt


def stands_below(place: Path, root: Path, names: Iterable[str]) -> bool:
    """Whether a folder between `root` and `place` bears one of the names (patterns)."""
    parts = place.relative_to(root).parts
    return any(fnmatchcase(part, name) for part in parts for name in names)


def _subset(record: DatasetRecord, match: re.Match[str], place: Path, root: Path) -> str | None:
    named = match.groupdict().get("subset")
    folders = (s for name, s in record.subsets.items() if stands_below(place, root, [name]))
    return named or next(folders, None)


def _patient(record: DatasetRecord, match: re.Match[str], case_id: str) -> str:
    """The patient by the id, or by today's id of a case that was renamed."""
    today = record.renamed.get(case_id)
    if today is not None:
        renamed = match.re.fullmatch(match.string.replace(case_id, today))
        return _patient(record, renamed, today) if renamed else today
    return match.groupdict().get("subject") or case_id


def _case_folders(record: DatasetRecord, root: Path, attempt: Attempt) -> None:
    layout, listed = attempt.layout, cache(image_entries)
    regex = re.compile(layout.case.regex)
    claims = ClaimedState(**layout.claims.model_dump())
    for parent, names in walk(root, tuple(layout.skip)):
        if layout.within and not stands_below(parent, root, layout.within):
            continue
        for name in list(names):
            match = regex.fullmatch(name)
            if match is None or match["case"] is None:
                continue
            folder, case_id = parent / name, match["case"]
            sequences = {
                sequence: file
                for sequence, patterns in layout.sequences.items()
                if (file := _first_match(folder, patterns, case_id, listed)) is not None
            }
            if not sequences:
                attempt.hollow.add(case_id)
                continue
            names.remove(name)  # what lies deeper belongs to the case, such as older versions
            mask = _first_match(folder, layout.lesion_masks, case_id, listed)
            drawn = _first_match(folder, layout.automated_masks, case_id, listed)
            case = RawCase(
                record.name,
                case_id,
                _patient(record, match, case_id),
                sequences,
                mask or drawn,
                _first_match(folder, layout.brain_masks, case_id, listed),
                claims,
            )
            attempt.candidates.setdefault(case_id, []).append(
                Candidate(folder, case, _subset(record, match, parent, root), mask is None)
            )


def _first_match(
    folder: Path, patterns: Patterns, case_id: str, listed: Callable[[Path], dict[str, Path]]
) -> Path | None:
    """The file of the first pattern that finds one."""
    for pattern in patterns:
        start, rest = folder, pattern.replace("{case}", escape(case_id))
        while rest.startswith("../"):
            start, rest = start.parent, rest[3:]
        above, _, name = rest.rpartition("/")
        parents = sorted(start.glob(above)) if above else [start]
        found = {
            parent / stem: file
            for parent in parents
            for stem, file in listed(parent).items()
            if fnmatchcase(stem, name)
        }
        if len(found) > 1:
            first, second, *_ = found.values()
            raise InputError(
                second,
                f"case {case_id} has a second file for the same image, {first}",
                "Keep one of the two in the case's folder.",
            )
        if found:
            return next(iter(found.values()))
    return None


def _case_files(record: DatasetRecord, root: Path, attempt: Attempt) -> None:
    layout = attempt.layout
    regex = re.compile(layout.case.regex)
    sequence_of = {word: name for name, words in layout.sequences.items() for word in words}
    images: dict[str, dict[str, Path]] = {}
    matches: dict[str, re.Match[str]] = {}
    for folder, _ in walk(root, tuple(layout.skip)):
        if layout.within and not stands_below(folder, root, layout.within):
            continue
        for stem, path in image_entries(folder).items():
            match = regex.fullmatch(stem)
            if match is None or (sequence := sequence_of.get(match["seq"])) is None:
                continue
            if (case_id := match["case"]) is None:
                continue
            found = images.setdefault(case_id, {})
            if sequence in found:
                attempt.fault = attempt.fault or InputError(
                    path,
                    f"case {case_id} has a second {sequence}, {found[sequence]}",
                    "Keep one of the two in this dataset's folder.",
                )
            found.setdefault(sequence, path)
            matches[case_id] = match
    claims = ClaimedState(**layout.claims.model_dump())
    for case_id, found in images.items():
        ordered = {name: found[name] for name in layout.sequences if name in found}
        patient = _patient(record, matches[case_id], case_id)
        subset = _subset(record, matches[case_id], next(iter(found.values())).parent, root)
        case = RawCase(record.name, case_id, patient, ordered, claims=claims)
        attempt.candidates[case_id] = [Candidate(root, case, subset)]
