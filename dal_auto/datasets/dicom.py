"""A DICOM folder → cases: which series is the T1, the T2 and the FLAIR of each examination.

Told by how the image was made (TE, TR, TI), and where that is not said by the series'
description. Whether an image looks like what it is taken for is checked later, by its voxels.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.errors import InputError
from dal_auto.images import write_image
from dal_auto.images.dicom import Header, Series, dicom_files, find_series, read_series

logger = logging.getLogger(__name__)

#: Fewer slices are a localiser, or single images.
_FEWEST_SLICES = 10
_NOT_A_SCAN = re.compile(r"loc(al|\b)|scout|survey|smart.?brain|calib|\b(adc|dwi|dti|trace|fa)\b"
                         r"|b1000|diff|perf|\basl\b|bold|fmri|swi|t2\*|t2.?star|hemo|angio|\btof\b"
                         r"|\bmra\b|\bmip\b|screen.?save|report|stir|field.?map", re.I)  # fmt: skip
_AGENT = re.compile(r"\+ ?c\b|\b(gd|gado\w*|km|ce|post|contrast|c\+)\b", re.I)
#: In this order: a FLAIR may call itself "T2 FLAIR".
_DESCRIBED = (
    ("FLAIR", re.compile(r"flair|dark.?fluid|tirm", re.I)),
    ("T1", re.compile(r"t1|mp.?rage|bravo|spgr|\btfl|\btfe|vibe", re.I)),
    ("T2", re.compile(r"t2", re.I)),
)


def is_dicom_folder(folder: Path) -> bool:
    """Whether there is a DICOM file at or below `folder`."""
    return folder.is_dir() and next(dicom_files(folder), None) is not None


def find_cases(
    folder: Path, target: Path, dataset: str, sequence: str | None = None
) -> list[RawCase]:
    """The cases of a DICOM folder, one per examination, their images written as NIfTI to `target`.

    A case is called ``study-`` and a hash of its examination's number: no name, date or identifier
    of a person is read. Of several series of one sequence the one with the smallest voxels is
    taken. What is left out is said, and why.

    Parameters
    ----------
    target : folder of the NIfTI files, ``<case>_<sequence>.nii.gz``; no other header is kept
    sequence : what every series is, whatever it says

    Raises
    ------
    InputError
        if no series is a T1, T2 or FLAIR, or slices of the chosen one are missing.
    """
    studies: dict[str, dict[str, list[Series]]] = defaultdict(lambda: defaultdict(list))
    reasons: list[str] = []
    for series in find_series(folder):
        found = reason_against(series)
        told = sequence or sequence_of(series.first)
        if found is None and told is not None:
            studies[series.first.study][told].append(series)
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
    return [
        _write_case(f"study-{study}", by_sequence, target, dataset)
        for study, by_sequence in sorted(studies.items())
    ]


def reason_against(series: Series) -> str | None:
    """Why a series is no plain scan of a brain's anatomy; None if it may be one."""
    header = series.first
    if header.modality != "MR":
        return f"its modality is {header.modality or 'not said'}, not MR"
    if series.slices < _FEWEST_SLICES:
        return f"it has {series.slices} slices"
    if "LOCALIZER" in header.image_type or _NOT_A_SCAN.search(header.description):
        return "it is a localiser or another kind of scan"
    if "EP" in header.scanning_sequence.split("\\"):
        return "it is echo-planar"
    if header.contrast_agent or _AGENT.search(header.description):
        return "it was taken with a contrast agent"
    if {"P", "PHASE", "PHASE MAP", "R", "I", "REAL", "IMAGINARY"} & set(header.image_type[2:4]):
        return "it holds no magnitudes"
    return None


def sequence_of(header: Header) -> str | None:
    """ "T1", "T2" or "FLAIR" by TE, TR and TI; by the description where these are missing."""
    described = next((name for name, p in _DESCRIBED if p.search(header.description)), None)
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
    case_id: str, by_sequence: dict[str, list[Series]], target: Path, dataset: str
) -> RawCase:
    images, dicom = {}, {}
    for sequence, several in sorted(by_sequence.items()):
        taken, *others = sorted(several, key=_preference)
        logger.info("%s: %s is %s%s", case_id, sequence, taken, _besides(others))
        array, grid = read_series(taken)
        images[sequence] = target / f"{case_id}_{sequence}.nii.gz"
        write_image(images[sequence], array, grid)
        dicom[sequence] = tuple(header.file for header in taken.headers)
    return RawCase(dataset, case_id, case_id, images, dicom=dicom)


def _preference(series: Series) -> tuple[bool, float, int, str]:
    """Originals first, then the smallest voxels, then the most slices."""
    derived = "DERIVED" in series.first.image_type
    return derived, round(series.widest_mm, 1), -series.slices, series.first.number


def _besides(others: Iterable[Series]) -> str:
    names = ", ".join(map(str, others))
    return f"; not {names}" if names else ""
