"""A flat folder of scans → cases, for ``dal_predict -i FOLDER``; names tell the sequence.

Recognised, before ``.nii.gz`` or another image's ending (`filenames.ENDINGS`): ``_T1``, ``_T1w``,
``_t1n``, ``_T2``, ``_T2w``, ``_FLAIR``, ``_t2f`` (in any case of letters, ``-`` as well as ``_``),
BIDS names, and nnU-Net's numbers, read as ``dataset.json`` beside the folder says (``imagesTs``),
else as ``_0000`` = T1 and ``_0001`` = T2. What stands before is the case id.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.datasets import bids, nnunet
from dal_auto.datasets.bids_names import parse_name
from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.filenames import ENDINGS, SYNONYMS, sequence_of, stem_of
from dal_auto.datasets.left_out import say_what_is_left_out
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

DATASET = "folder"
_NUMBERED: Mapping[int, str] = {0: "T1", 1: "T2"}
# The whole name may be the sequence ("T1.nii.gz"): a folder that holds one examination.
_SUFFIXED = re.compile(rf"(?:(?P<case>.*[^_-])[_-]+)?(?P<word>{'|'.join(SYNONYMS)})", re.IGNORECASE)
_NAMES = (
    "Names must end in _T1, _T2 or _FLAIR, in _0000 (T1) or _0001 (T2), or in BIDS' _T1w, _T2w or "
    "_FLAIR"
)


def find_cases(folder: Path, sequence: str | None = None) -> list[RawCase]:
    """The cases directly in `folder`, sorted by id; sub-folders are not searched.

    Files whose sequence cannot be told are named in a warning each and left out.

    Parameters
    ----------
    sequence : if given, every file is one case of this sequence, whatever its name says

    Raises
    ------
    InputError
        if the folder holds no image or none that is recognised, or if two files
        claim the same sequence of the same case.
    """
    images = _images(folder)
    if sequence is not None:
        return [RawCase(DATASET, stem, stem, {sequence: path}) for stem, path in images.items()]
    channels = _channels_in(folder)
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    bids_files, numbered = [], False
    for stem, path in images.items():
        file = parse_name(stem, path)
        if file is not None and file.sequence is not None:
            bids_files.append(file)
            continue
        contrast = file is not None and "ce" in file.entities
        named = None if contrast else _recognise(stem, folder, channels)
        if named is None:
            logger.warning("%s: the sequence cannot be told from the name; it is left out", path)
            continue
        case_id, recognised, by_number = named
        numbered |= by_number
        _add(found[case_id], case_id, recognised, path)
    if numbered and channels is _NUMBERED:
        logger.warning("%s: numbers are read as _0000 = T1, _0001 = T2; if not, rename", folder)
    for case in bids.cases_from(bids_files, DATASET):
        for recognised, path in case.sequences.items():
            _add(found[case.case_id], case.case_id, recognised, path)
    if not found:
        shown = ", ".join(path.name for path in list(images.values())[:3])
        raise InputError(
            folder,
            f"the sequence of none of {len(images)} files can be told from its name ({shown}, …)",
            f"{_NAMES}; or say --sequence T1 if all files are T1.",
        )
    return [
        RawCase(DATASET, case_id, _patient(case_id), dict(sorted(found[case_id].items())))
        for case_id in sorted(found)
    ]


def case_of_file(path: Path, sequence: str | None = None) -> RawCase:
    """One image as a case of its own.

    Parameters
    ----------
    sequence : what it is; by default its name tells, as in a folder

    Raises
    ------
    InputError
        if neither its name nor `sequence` tells.
    """
    stem = stem_of(path) or path.name
    if sequence is not None:
        return RawCase(DATASET, stem, stem, {sequence: path})
    file = parse_name(stem, path)
    if file is not None and file.sequence is not None:
        (case,) = bids.cases_from([file], DATASET)
        return case
    named = _recognise(stem, path.parent, _channels_in(path.parent))
    if named is None:
        raise InputError(
            path,
            "its name does not tell the sequence",
            f"{_NAMES}; or say what it is, as --sequence T1.",
        )
    return RawCase(DATASET, named[0], _patient(named[0]), {named[1]: path})


def _images(folder: Path) -> dict[str, Path]:
    images = image_entries(folder)
    say_what_is_left_out(folder)
    if not images:
        below = sorted({path.parent for path in folder.glob("*/*") if stem_of(path)})
        hint = f", but {below[0]} holds some" if below else ""
        raise InputError(
            folder, f"it holds no image ({', '.join(ENDINGS)}){hint}",
            "Name a folder that holds the scans directly.",
        )  # fmt: skip
    for stem in images:
        twice = [f"{stem}{ending}" for ending in ENDINGS if (folder / f"{stem}{ending}").exists()]
        if len(twice) > 1:  # which of them is meant is not ours to guess
            raise InputError(
                folder / twice[1], f"{twice[0]} is there as well", "Keep one of the two."
            )
    return images


def _channels_in(folder: Path) -> Mapping[int, str]:
    """What the numbers are: as the nnU-Net dataset says whose folder it is, else `_NUMBERED`."""
    root = folder.resolve().parent
    return nnunet.channels_of(root) if nnunet.is_nnunet(root) else _NUMBERED


def _recognise(
    stem: str, folder: Path, channels: Mapping[int, str]
) -> tuple[str, str, bool] | None:
    """Case id, sequence, and whether a channel number told it."""
    if match := _SUFFIXED.fullmatch(stem):
        sequence = sequence_of(match["word"])
        return (match["case"] or folder.resolve().name, sequence, False) if sequence else None
    if (match := nnunet.IMAGE_NAME.fullmatch(stem)) and int(match["channel"]) in channels:
        return match["case"], channels[int(match["channel"])], True
    return None


def _add(images: dict[str, Path], case_id: str, sequence: str, path: Path) -> None:
    if sequence in images:
        raise InputError(
            path,
            f"case {case_id} has a second {sequence}, {images[sequence].name}",
            "Keep one of the two in the folder.",
        )
    images[sequence] = path


def _patient(case_id: str) -> str:
    """The BIDS subject where the id is one, else the case itself."""
    return case_id.split("_")[0] if case_id.startswith("sub-") else case_id
