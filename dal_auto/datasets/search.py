"""A dataset's record and its folder → cases. Names are read, never an image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from dal_auto.case import RawCase
from dal_auto.datasets.candidates import Attempt, Candidate, collect, stands_below
from dal_auto.datasets.filenames import walk
from dal_auto.datasets.record import OWN_RECORD, DatasetRecord, Layout
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

MaskQuality = Literal["expert", "automated"]
_IDS_SHOWN = 5
# An earlier layout is taken if it has this share of the complete cases of the fullest one.
_NEARLY_FULL = 0.9


@dataclass(frozen=True)
class Remark:
    """Something that users should know, in words, and the cases concerned."""

    words: str
    cases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.words}: {some(self.cases)}" if self.cases else self.words


@dataclass(frozen=True)
class Found:
    """What a record finds in a folder.

    Parameters
    ----------
    layout : the one that was taken, for all cases
    cases : sorted by id
    subsets : case id → part of the dataset that it belongs to, where the record knows parts
    mask_quality : case id → who drew its lesion mask
    excluded : case id → why it is left out, of those on disk
    remarks : what users should know
    """

    layout: Layout
    cases: tuple[RawCase, ...]
    subsets: Mapping[str, str]
    mask_quality: Mapping[str, MaskQuality]
    excluded: Mapping[str, str]
    remarks: tuple[Remark, ...]


def find_cases(record: DatasetRecord, root: Path) -> list[RawCase]:
    """The cases of `search`, sorted by id; its remarks are logged as warnings."""
    found = search(record, root)
    for remark in found.remarks if found else ():
        logger.warning("%s: %s", record.name, remark)
    return list(found.cases) if found else []


def search(record: DatasetRecord, root: Path) -> Found | None:
    """Find the cases of a dataset; None if no layout fits.

    One layout is taken for the whole set, so that all images are of one kind: the first of the
    record's that has nearly as many complete cases as the fullest. A case that lacks a sequence or
    the mask comes with what it has; one without any image is none.

    Raises
    ------
    InputError
        if a folder marks another dataset, or a case or one of its files is there twice.
    """
    _refuse_others(record, root)
    attempts = [collect(record, layout, root) for layout in record.layouts]
    fitting = [attempt for attempt in attempts if attempt.candidates]
    if not fitting:
        return None
    most = max(attempt.complete for attempt in fitting)
    taken = next(a for a in fitting if a.complete >= _NEARLY_FULL * most)
    remarks: list[Remark] = []
    chosen = _choose(taken, root, remarks)
    for attempt in fitting:
        if more := set(attempt.candidates) - set(chosen):
            words = (
                f"read in layout {taken.layout.id}; not read are further cases in layout "
                f"{attempt.layout.id} (if they are no copies, keep them in a folder with a "
                f"{OWN_RECORD} of its own)"
            )
            remarks.append(Remark(words, tuple(sorted(more))))
    excluded = {i: why for i, why in sorted(record.excluded.items()) if i in chosen}
    for case_id, reason in excluded.items():
        logger.info("%s: %s is left out: %s", record.name, case_id, reason)
        del chosen[case_id]
    if hollow := taken.hollow - set(chosen) - set(excluded):
        words = f"{len(hollow)} folders of cases hold no T1 or T2 that could be read"
        remarks.append(Remark(words, tuple(sorted(hollow))))
    lacking = [case_id for case_id, one in chosen.items() if one.case.lesion_mask is None]
    if taken.layout.lesion_masks and lacking:
        words = f"{len(lacking)} of {len(chosen)} cases have no lesion mask and cannot be scored"
        remarks.append(Remark(words, tuple(sorted(lacking))))
    ordered = dict(sorted(chosen.items()))
    quality: dict[str, MaskQuality] = {
        case_id: "automated" if one.automated else "expert"
        for case_id, one in ordered.items()
        if one.case.lesion_mask is not None
    }
    return Found(
        taken.layout,
        tuple(one.case for one in ordered.values()),
        {case_id: one.subset for case_id, one in ordered.items() if one.subset is not None},
        quality,
        excluded,
        tuple(remarks),
    )


def some(case_ids: Iterable[str]) -> str:
    """The first few, sorted, for a message."""
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


def _choose(attempt: Attempt, root: Path, remarks: list[Remark]) -> dict[str, Candidate]:
    """One place for every case: the overriding one, else the only one."""
    if attempt.fault is not None:
        raise attempt.fault
    layout, chosen, corrected = attempt.layout, {}, 0
    for case_id, candidates in attempt.candidates.items():
        overriding = [one for one in candidates if stands_below(one.place, root, layout.overrides)]
        corrected += bool(overriding)
        usable = overriding or candidates
        if len(usable) > 1:
            raise InputError(
                usable[1].place,
                f"case {case_id} is there a second time, also in {usable[0].place}",
                "Keep one of the two in this dataset's folder.",
            )
        chosen[case_id] = usable[0]
    for name, number in layout.overrides.items():
        if not corrected:
            words = f"no folder {name} with corrected cases in {root}; the uncorrected are used"
            remarks.append(Remark(words))
        elif number is not None and corrected != number:
            words = f"{name} has {corrected} corrected cases; {number} were expected"
            remarks.append(Remark(words))
    return chosen
