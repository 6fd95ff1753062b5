"""A DICOM folder → cases: which series is the T1, the T2 and the FLAIR of each examination.

Told by how the image was made (TE, TR, TI), and where that is not said by the series'
description. Whether an image looks like what it is taken for is checked later, by its voxels.
"""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.errors import InputError
from dal_auto.images import write_image
from dal_auto.images.dicom import Header, Series, dicom_files, find_series, read_series
from dal_auto.workers.bars import progress

logger = logging.getLogger(__name__)

#: Fewer slices are a localiser, or single images.
_FEWEST_SLICES = 10
# All of these are looked for in what `_words` makes of a description.
_NOT_A_SCAN = re.compile(
    r"loc(al|\b)|scout|survey|smart ?brain|calib|\bd?adc\b|\b(dwi|dti|trace|fa)\b|b1000|diff|perf"
    r"|\basl\b|bold|fmri|\bswi|swan|t2\*|t2 ?star|hemo|angio|\btof\b|\bmra\b|\bm(in)?ip\b"
    r"|screen ?save|report|stir|field ?map|\b(mag|pha) images\b|ciss|fiesta|\bci3d\b|b ?tfe\b|ssfp"
    r"|tru?e? ?fi(sp)?\b|\binv ?[12]\b|\bt[12] (map|images)\b"
)
#: A gradient echo, which is T2* unless it calls itself a T1.
_GRADIENT_ECHO = re.compile(r"\b(gre|ffe|fl[23]d)\b")
_AGENT = re.compile(r"\+ ?c\b|\bc\+|\b(gd|gado\w*|km|ce|post|contrast|kontrast)\b")
#: "Pre contrast" is no contrast.
_NO_AGENT = re.compile(
    r"\b(pre|non?|without|ohne|w/ ?o|vor)\b ?(contrast|kontrast|gado?\w*|gd|km|ce|c)\b"
)
#: In this order: a FLAIR may call itself "T2 FLAIR".
_DESCRIBED = (
    ("FLAIR", re.compile(r"flair|dark ?fluid|tirm")),
    ("T1", re.compile(r"t1|mp ?rage|mp2rage|bravo|spgr|\btfl|\btfe|vibe")),
    ("T2", re.compile(r"t2")),
)
#: Kinds of image that are no magnitudes of a signal.
_NO_MAGNITUDES = {"P", "PHASE", "PHASE MAP", "R", "I", "REAL", "IMAGINARY", "T1 MAP", "T2 MAP"}


@dataclass(frozen=True)
class _Candidate:
    """A series that may be a sequence of its examination.

    Parameters
    ----------
    doubt : why it is taken only because the user says what it is; None if nothing is against it
    """

    series: Series
    doubt: str | None


def is_dicom_folder(folder: Path) -> bool:
    """Whether there is a DICOM file at or below `folder`."""
    return folder.is_dir() and next(dicom_files(folder), None) is not None


def find_cases(
    folder: Path, target: Path, dataset: str, sequence: str | None = None
) -> list[RawCase]:
    """The cases of a DICOM folder, one per examination, their images written as NIfTI to `target`.

    A case is called ``study-`` and a hash of its examination's number: no name, date or identifier
    of a person is read. Of several series of one sequence the one with the smallest voxels is
    taken, of those that are complete. What is left out is said, and why.

    Parameters
    ----------
    target : folder of the NIfTI files, ``<case>_<sequence>.nii.gz``; no other header is kept
    sequence : what every series is, whatever it says. What speaks against a series is then a
        warning; one without such a doubt is preferred

    Raises
    ------
    InputError
        if no series is a T1, T2 or FLAIR, or slices of every such one are missing.
    """
    logger.info("reading the headers of the DICOM files in %s", folder)
    studies: dict[str, dict[str, list[_Candidate]]] = defaultdict(lambda: defaultdict(list))
    reasons: list[str] = []
    for series in find_series(progress("headers", "file", list(dicom_files(folder)))):
        told = sequence or sequence_of(series.first)
        doubt = _doubt(series, told)
        found = _not_mr(series) or (None if sequence else doubt)
        if found is None and told is not None:
            studies[series.first.study][told].append(_Candidate(series, doubt))
        else:
            reasons.append(f"{series}: {found or 'neither its tags nor its name tell a sequence'}")
    for reason in reasons:
        logger.info("left out: %s", reason)
    if not studies:
        raise InputError(
            folder,
            "none of its DICOM series is a T1, T2 or FLAIR"
            + (f" ({'; '.join(reasons[:3])})" if reasons else ""),
            "Name the folder of one series and say --sequence, or convert it to NIfTI.",
        )
    cases = [
        _write_case(f"study-{study}", by_sequence, target, dataset)
        for study, by_sequence in progress("convert", "examination", sorted(studies.items()))
    ]
    faults = [case.fault for case in cases if case.fault is not None]
    if len(faults) == len(cases):
        raise faults[0]
    return cases


def _not_mr(series: Series) -> str | None:
    """What no word of the user can make up for."""
    modality = series.first.modality
    return None if modality == "MR" else f"its modality is {modality or 'not said'}, not MR"


def _doubt(series: Series, told: str | None) -> str | None:
    """Why a series is no plain scan of a brain's anatomy, or not the sequence that it is taken
    for; None if it may be."""
    header = series.first
    if series.slices < _FEWEST_SLICES:
        return f"it has {series.slices} slices"
    words = _words(header.description)
    if "LOCALIZER" in header.image_type or _NOT_A_SCAN.search(words):
        return "it is a localiser or another kind of scan"
    if _GRADIENT_ECHO.search(words) and "T1" not in _described(header):
        return "it is a gradient echo that does not call itself a T1"
    if "EP" in header.scanning_sequence.split("\\"):
        return "it is echo-planar"
    if header.contrast_agent or _AGENT.search(_NO_AGENT.sub(" ", words)):
        return "it was taken with a contrast agent"
    if _NO_MAGNITUDES & set(header.image_type[2:]):
        return "it holds no magnitudes"
    tagged = sequence_of(header)
    if tagged not in (told, None):
        return f"its tags or its name say {tagged}"
    return _contradiction(header, tagged)


def _contradiction(header: Header, told: str | None) -> str | None:
    """Where tags and description name different sequences; a FLAIR may be called T2."""
    described, allowed = _described(header), {"T2", told} if told == "FLAIR" else {told}
    if told is None or not described or allowed & set(described):
        return None
    return f"its tags say {told}, its name says {' '.join(described)}"


def _words(description: str) -> str:
    """In small letters; what stands between words, an underscore too, is one blank."""
    return re.sub(r"[^\w+*/]+|_", " ", description.lower()).strip()


def _described(header: Header) -> list[str]:
    """The sequences that the description names, a FLAIR first."""
    words = _words(header.description)
    return [name for name, pattern in _DESCRIBED if pattern.search(words)]


def sequence_of(header: Header) -> str | None:
    """ "T1", "T2" or "FLAIR" by TE, TR and TI; by the description where these are missing."""
    described = next(iter(_described(header)), None)
    te, tr, ti = header.echo_ms, header.repetition_ms, header.inversion_ms
    if te is None or tr is None:
        return described
    if te >= 60 and tr >= 2000:  # long echo: fluid is bright, unless an inversion nulls it
        nulled = ti is not None and ti >= 1200
        return "FLAIR" if nulled or (not ti and described == "FLAIR") else "T2"
    if te <= 30 and (tr <= 1200 or (ti is not None and 300 <= ti <= 1300)):
        return "T1"
    return described


def _write_case(
    case_id: str, by_sequence: dict[str, list[_Candidate]], target: Path, dataset: str
) -> RawCase:
    images, dicom, fault = {}, {}, None
    for sequence, several in sorted(by_sequence.items()):
        for candidate in sorted(several, key=_preference):
            taken = candidate.series
            try:
                array, grid = read_series(taken)
            except InputError as error:
                logger.warning("%s: %s is left out: %s", case_id, taken, error)
                fault = fault or error
                continue
            others = [one.series for one in several if one is not candidate]
            logger.info("%s: %s is %s%s", case_id, sequence, taken, _besides(others))
            if candidate.doubt is not None:
                logger.warning(
                    "%s: %s is taken as %s because --sequence says so; against it: %s",
                    case_id,
                    taken,
                    sequence,
                    candidate.doubt,
                )
            images[sequence] = target / f"{case_id}_{sequence}.nii.gz"
            write_image(images[sequence], array, grid)
            dicom[sequence] = tuple(header.file for header in taken.headers)
            break
    return RawCase(dataset, case_id, case_id, images, dicom=dicom, fault=None if images else fault)


def _preference(candidate: _Candidate) -> tuple[bool, bool, float, int, float, str]:
    """Those without a doubt first, then originals, then the smallest voxels, then the most slices,
    then the earliest."""
    series = candidate.series
    derived, number = "DERIVED" in series.first.image_type, series.first.number
    order = float(number) if number.isdecimal() else math.inf
    doubtful = candidate.doubt is not None
    return doubtful, derived, round(series.widest_mm, 1), -series.slices, order, number


def _besides(others: Iterable[Series]) -> str:
    names = ", ".join(map(str, others))
    return f"; not {names}" if names else ""
