"""Lesion and brain masks of a BIDS folder: which case each belongs to, and who is not healthy."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.datasets.bids_names import SUFFIXES, BidsFile, plainness
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

MASKS = ("mask", "dseg", "roi")
_LESION = re.compile(r"lesion|tumou?r", re.IGNORECASE)
#: Lesions too, and often drawn by a program: taken where no mask is called a lesion's or tumour's.
_OTHER_LESION = re.compile(r"wmh|stroke|infarct", re.IGNORECASE)
# Values of `space-` that mean one of the case's own images, not a template.
_OWN_SPACES = {None, "T1w", "T2w", "FLAIR", "orig", "individual"}
#: Entities that tell images of one sequence apart, and by which masks name theirs.
_VERSIONS = ("acq", "rec", "run")


def with_masks(
    cases: Sequence[RawCase], files: Iterable[BidsFile], *, lesions: bool
) -> list[RawCase]:
    """The cases with their masks, but for those of people whose lesion mask cannot be used.

    Parameters
    ----------
    files : images and masks
    lesions : whether lesion masks are wanted

    Raises
    ------
    InputError
        if lesion masks are wanted, and a case has several.
    """
    images, masks, strays = _sorted_out(cases, files, lesions=lesions)
    ill: dict[str, BidsFile] = {one.subject: one for one in strays}
    several: list[tuple[BidsFile, BidsFile]] = []
    found = []
    for case in cases:
        seen = _Seen(case, images[case.case_id])
        own = [file for file in masks[case.case_id] if seen.shows(file)]
        named = [file for file in masks[case.case_id] if names_lesion(file)]
        lesion = _lesion_of(case, [file for file in named if file in own])
        if named and lesion is None:
            ill[case.patient_id] = named[0]
        brains = sorted((file for file in own if _is_brain(file)), key=plainness)
        several += [(brains[0], brains[1])] if len(brains) > 1 else []
        brain = brains[0].path if brains else None
        found.append(replace(case, lesion_mask=lesion, brain_mask=brain))
    if several:
        logger.warning(
            "%d cases have several brain masks; the plainest is taken, such as %s, not %s",
            *(len(several), several[0][0].path, several[0][1].path),
        )
    return _without_the_ill(found, ill)


def tell_without_masks(cases: Sequence[RawCase]) -> None:
    """Warn where some cases have a lesion mask, and others have none and count as healthy."""
    without = [case.case_id for case in cases if case.lesion_mask is None]
    if 0 < len(without) < len(cases):
        logger.warning(
            "%d of %d cases have no lesion mask and count as healthy, such as %s",
            len(without),
            len(cases),
            ", ".join(without[:3]),
        )


def names_lesion(file: BidsFile) -> bool:
    """Whether a mask is called that of a lesion; a region of interest without a label is one."""
    label, words = file.entities.get("label", ""), _words(file)
    called = bool(_LESION.search(words) or _OTHER_LESION.search(words))
    return label == "L" or called or (file.suffix == "roi" and not label)


def _sorted_out(
    cases: Sequence[RawCase], files: Iterable[BidsFile], *, lesions: bool
) -> tuple[Mapping[str, list[BidsFile]], Mapping[str, list[BidsFile]], list[BidsFile]]:
    """Images by case, masks by case, and lesion masks that are of no case."""
    images: dict[str, list[BidsFile]] = defaultdict(list)
    masks: dict[str, list[BidsFile]] = defaultdict(list)
    strays: list[BidsFile] = []
    of_subject: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        of_subject[case.patient_id].append(case.case_id)
    for file in files:
        if file.suffix in SUFFIXES:
            images[file.case_id].append(file)
        if file.suffix not in MASKS or (names_lesion(file) and not lesions):
            continue
        ids = of_subject[file.subject]
        # A mask that names no session is of the subject's only case.
        alone = "ses" not in file.entities and len(ids) == 1
        case_id = ids[0] if alone else file.case_id
        if case_id in ids:
            masks[case_id].append(file)
        elif names_lesion(file):
            strays.append(file)
    return images, masks, strays


class _Seen:
    """The images of a case: those that are taken, and the others."""

    def __init__(self, case: RawCase, images: Sequence[BidsFile]) -> None:
        self.images = images
        self.taken = [one for one in images if one.path in case.sequences.values()]

    def shows(self, mask: BidsFile) -> bool:
        """Whether a mask lies on an image that is taken: neither on a template's grid, nor on that
        of another run, acquisition or reconstruction."""
        spaces = _OWN_SPACES | {one.entities.get("space") for one in self.taken}
        if mask.entities.get("space") not in spaces:
            return False
        for key in _VERSIONS:
            value = mask.entities.get(key)
            of_taken, of_all = (
                value in {one.entities.get(key) for one in several}
                for several in (self.taken, self.images)
            )
            if value is not None and of_all and not of_taken:
                return False
        return True


def _lesion_of(case: RawCase, usable: Sequence[BidsFile]) -> Path | None:
    """The lesion mask of a case."""
    called = [one for one in usable if not _OTHER_LESION.search(_words(one))] or list(usable)
    if len(called) > 1:
        raise InputError(
            called[1].path,
            f"case {case.case_id} has a second lesion mask, {called[0].path}",
            "Keep one of the two.",
        )
    if len(usable) > 1:
        other = next(one for one in usable if one is not called[0])
        logger.warning("%s: %s is taken, not %s", case.case_id, called[0].path, other.path)
    return called[0].path if called else None


def _words(file: BidsFile) -> str:
    return f"{file.entities.get('label', '')} {file.entities.get('desc', '')}"


def _is_brain(file: BidsFile) -> bool:
    return file.suffix == "mask" and file.entities.get("desc", "").lower() == "brain"


def _without_the_ill(cases: Sequence[RawCase], ill: Mapping[str, BidsFile]) -> list[RawCase]:
    """Without the cases of people who have a lesion mask that none of their cases can use: they are
    neither healthy, nor can what is found in them be scored."""
    lost: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case.patient_id in ill and case.lesion_mask is None:
            lost[case.patient_id].append(case.case_id)
    for subject, ids in lost.items():
        logger.warning(
            "%s left out: the lesion mask %s is on a template's grid, of another image than those "
            "that are taken, or of no session of theirs",
            *(f"{', '.join(ids)} {'is' if len(ids) == 1 else 'are'}", ill[subject].path),
        )
    return [case for case in cases if case.case_id not in lost.get(case.patient_id, ())]
