"""A dataset's record and its folder → cases. Names are read, never an image."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.filenames import image_file, images_in, stem_of, walk
from dal_auto.datasets.record import OWN_RECORD, DatasetRecord, Layout, Patterns
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

_IDS_SHOWN = 5


def find_cases(record: DatasetRecord, root: Path) -> list[RawCase]:
    """The cases of a dataset, sorted by id; none if no layout fits.

    A case that lacks a sequence or the mask comes with what it has; one without any image is none.

    Raises
    ------
    InputError
        if a folder marks another dataset, or a case or one of its files is there twice.
    """
    _refuse_others(record, root)
    fitting = [
        (layout, cases) for layout in record.layouts if (cases := _cases_of(record, layout, root))
    ]
    if not fitting:
        return []
    (layout, cases), *others = fitting
    for other, further in others:
        if more := set(further) - set(cases):
            logger.warning(
                "%s: read in layout %s; not read are further cases in layout %s: %s. If they are "
                "no copies, keep them in a folder with a %s of its own",
                record.name, layout.id, other.id, _some(more), OWN_RECORD,
            )  # fmt: skip
    for case_id in sorted(set(record.excluded) & set(cases)):
        logger.info("%s: %s is left out: %s", record.name, case_id, record.excluded[case_id])
        del cases[case_id]
    lacking = [case_id for case_id, case in cases.items() if case.lesion_mask is None]
    if layout.lesion_masks and lacking:
        logger.warning(
            "%s: %d of %d cases have no lesion mask and cannot be scored: %s",
            record.name, len(lacking), len(cases), _some(lacking),
        )  # fmt: skip
    return [cases[case_id] for case_id in sorted(cases)]


def _some(case_ids: Iterable[str]) -> str:
    ordered = sorted(case_ids)
    return ", ".join(ordered[:_IDS_SHOWN]) + (", …" if len(ordered) > _IDS_SHOWN else "")


def _refuse_others(record: DatasetRecord, root: Path) -> None:
    if not record.refuse:
        return  # spares a walk through the whole tree
    for folder, _ in walk(root):
        name = folder.resolve().name if folder == root else folder.name
        for pattern, reason in record.refuse.items():
            if fnmatchcase(name, pattern):
                raise InputError(
                    folder,
                    f"this is not {record.name} as the record knows it: {reason}",
                    "Move it out of this folder, or describe it by a dal_record.json of its own.",
                )


def _cases_of(record: DatasetRecord, layout: Layout, root: Path) -> dict[str, RawCase]:
    search = _case_folders if layout.case.kind == "directory" else _case_files
    candidates: dict[str, list[tuple[Path, RawCase]]] = defaultdict(list)
    for place, case in search(record, layout, root):
        candidates[case.case_id].append((place, case))
    overriding = {
        case_id
        for case_id, found in candidates.items()
        if any(_overrides(layout, place, root) for place, _ in found)
    }
    if candidates and layout.overrides and not overriding:
        logger.warning(
            "%s: no folder %s with corrected cases in %s; the uncorrected ones are used",
            record.name, " or ".join(layout.overrides), root,
        )  # fmt: skip
    cases: dict[str, RawCase] = {}
    for case_id, found in candidates.items():
        if case_id in overriding:
            found = [pair for pair in found if _overrides(layout, pair[0], root)]
        if len(found) > 1:
            raise InputError(
                found[1][0],
                f"case {case_id} is there a second time, also in {found[0][0]}",
                "Keep one of the two in this dataset's folder.",
            )
        cases[case_id] = found[0][1]
    return cases


def _overrides(layout: Layout, place: Path, root: Path) -> bool:
    parts = place.relative_to(root).parts
    return any(fnmatchcase(part, p) for part in parts for p in layout.overrides)


def _case_folders(
    record: DatasetRecord, layout: Layout, root: Path
) -> Iterator[tuple[Path, RawCase]]:
    regex = re.compile(layout.case.regex)
    for parent, names in walk(root, layout.skip):
        for name in list(names):
            match = regex.fullmatch(name)
            if match is None:
                continue
            folder, case_id = parent / name, match["case"]
            sequences = {
                sequence: file
                for sequence, patterns in layout.sequences.items()
                if (file := _first_match(folder, patterns, case_id)) is not None
            }
            if not sequences:
                continue
            names.remove(name)  # what lies deeper belongs to the case, such as older versions
            case = RawCase(
                record.name,
                case_id,
                match.groupdict().get("subject") or case_id,
                sequences,
                _first_match(folder, layout.lesion_masks, case_id),
                _first_match(folder, layout.brain_masks, case_id),
                ClaimedState(**layout.claims.model_dump()),
            )
            yield folder, case


def _first_match(folder: Path, patterns: Patterns, case_id: str) -> Path | None:
    """The file of the first pattern that finds one."""
    for pattern in patterns:
        start, rest = folder, pattern.replace("{case}", escape(case_id))
        while rest.startswith("../"):
            start, rest = start.parent, rest[3:]
        # Sorted, x.nii comes before x.nii.gz, which replaces it.
        found = {
            path.parent / stem: file
            for path in sorted([*start.glob(f"{rest}.nii"), *start.glob(f"{rest}.nii.gz")])
            if (stem := stem_of(path)) and (file := image_file(path)) is not None
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


def _case_files(
    record: DatasetRecord, layout: Layout, root: Path
) -> Iterator[tuple[Path, RawCase]]:
    regex = re.compile(layout.case.regex)
    sequence_of = {word: name for name, words in layout.sequences.items() for word in words}
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    patients: dict[str, str] = {}
    for folder, _ in walk(root, layout.skip):
        for stem, path in images_in(folder).items():
            match = regex.fullmatch(stem)
            if match is None or (sequence := sequence_of.get(match["seq"])) is None:
                continue
            case_id = match["case"]
            if sequence in images[case_id]:
                raise InputError(
                    path,
                    f"case {case_id} has a second {sequence}, {images[case_id][sequence]}",
                    "Keep one of the two in this dataset's folder.",
                )
            images[case_id][sequence] = path
            patients[case_id] = match.groupdict().get("subject") or case_id
    claims = ClaimedState(**layout.claims.model_dump())
    for case_id, found in images.items():
        ordered = {name: found[name] for name in layout.sequences if name in found}
        yield root, RawCase(record.name, case_id, patients[case_id], ordered, claims=claims)
