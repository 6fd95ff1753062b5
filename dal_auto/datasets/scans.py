"""Whatever a user points at → cases: one file, a folder of images, DICOM, BIDS, nnU-Net, a list."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.datasets import bids, case_list, dicom, folder, nnunet
from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.filenames import stem_of
from dal_auto.errors import InputError, MissingInput, UsageError
from dal_auto.images.dicom import is_dicom

logger = logging.getLogger(__name__)

#: Names of our own outputs, which may lie among scans.
_OURS = re.compile(r".+_[^_]+_(anomaly|mask|pseudo-healthy|anatomy|brain-mask)(_space-atlas)?")
#: Folder of the output in which converted DICOM series lie.
CONVERTED = "scans"


def require_apart(source: Path, output: Path) -> None:
    """Before anything is written to `output`: see that it is not among the scans.

    Raises
    ------
    MissingInput
        if there is no such `source`.
    UsageError
        if `output` is the folder of the scans or their list, or lies inside it. Of a BIDS tree,
        `derivatives` is for that.
    """
    if not source.exists():
        what = "no such file or folder"
        raise MissingInput(source, what, "Name a scan, a list, or a folder that holds scans.")
    if source.is_file():
        _require_elsewhere(source, output)
        return
    folder, target = source.resolve(), output.resolve()
    if target == folder:
        raise UsageError(f"{output} holds the scans: name another folder for the maps with -o")
    derivatives = folder / "derivatives"
    if folder in target.parents and derivatives not in (target, *target.parents):
        raise UsageError(
            f"{output} lies inside {source}, which holds the scans: name a folder beside it for "
            f"the maps with -o, or one in {derivatives}"
        )


def find_scans(source: Path, output: Path, sequence: str | None = None) -> list[RawCase]:
    """The cases at `source`, without lesion masks; never what an earlier prediction wrote.

    DICOM series are converted, so that the caller has claimed `output`, see `require_apart`.

    Parameters
    ----------
    source : one image, a folder of images, of DICOM series, of a BIDS or nnU-Net dataset, or a
        list (``.csv``, ``.json``)
    output : where results go; DICOM series are converted into its folder ``scans``
    sequence : what every image is, whatever its name says

    Raises
    ------
    UsageError
        if the output folder is one that holds scans or their masks.
    InputError
        if there is no scan, or nothing but our own outputs.
    """
    cases = _cases_at(source, output, sequence)
    if not cases:
        raise InputError(source, "it holds no T1, T2 or FLAIR scan", "Name a folder that does.")
    _require_others_apart(cases, output)
    _say_which_are_alike(source, cases)
    return cases


def _cases_at(source: Path, output: Path, sequence: str | None) -> list[RawCase]:
    if case_list.is_list(source):
        return case_list.find_cases(source, sequence)
    if source.is_file():
        return [_single_file(source, sequence)]
    if sequence is None and nnunet.is_nnunet(source):
        if further := image_entries(source / "imagesTs"):
            logger.warning(
                "%s: its %d images are left out; name that folder with -i to predict them",
                source / "imagesTs",
                len(further),
            )
        return nnunet.find_cases(source, folder.DATASET, lesions=False)
    if sequence is None and bids.is_bids(source):
        return bids.find_cases(source, folder.DATASET, lesions=False)
    if not image_entries(source) and dicom.is_dicom_folder(source):
        target = output / CONVERTED
        here, there = source.resolve(), target.resolve()
        if here == there or here in there.parents or there in here.parents:
            raise UsageError(
                f"{source}: the images of its series would be written to {target}, among its own "
                "files: name another folder for the maps with -o"
            )
        return dicom.find_cases(source, target, folder.DATASET, sequence)
    return _in_flat_folder(source, sequence)


def _say_which_are_alike(source: Path, cases: Sequence[RawCase]) -> None:
    """Warn of cases whose results would have one name on some computers."""
    alike: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        alike[unicodedata.normalize("NFC", case.case_id).casefold()].append(case.case_id)
    for twins in alike.values():
        if len(twins) > 1:
            logger.warning(
                "%s: the cases %s differ in capitals or in how their letters are stored only: one "
                "patient? Their results overwrite each other on macOS and Windows",
                source,
                ", ".join(map(repr, twins)),
            )


def _require_others_apart(cases: Sequence[RawCase], output: Path) -> None:
    """No folder that holds an image or a mask of a case is written into: a list may name any."""
    for case in cases:
        for file in filter(None, (*case.sequences.values(), case.brain_mask)):
            _require_elsewhere(file, output)


def _require_elsewhere(file: Path, output: Path) -> None:
    """Neither the file nor, of a link, what it leads to lies in the output folder."""
    if output.resolve() in (file.absolute().parent.resolve(), file.resolve().parent):
        raise UsageError(
            f"{output} holds {file.name}, which is one of the inputs: name another folder for the "
            "maps with -o"
        )


def _single_file(path: Path, sequence: str | None) -> RawCase:
    if is_dicom(path):
        raise InputError(
            path, "it is one DICOM file, and a scan is many", "Name the folder that holds them."
        )
    if stem_of(path) is None:
        raise InputError(
            path,
            "its name does not end as an image's or a list's does",
            "Give NIfTI (.nii, .nii.gz), .mgz, .nrrd or .mha, a .csv or .json list, or a folder.",
        )
    return folder.case_of_file(path, sequence)


def _in_flat_folder(source: Path, sequence: str | None) -> list[RawCase]:
    found = folder.find_cases(source, sequence=sequence)
    cases = [case for case in found if not all(map(_is_ours, case.sequences.values()))]
    if len(cases) < len(found):
        logger.warning(
            "%s: %d files are outputs of dal_predict by their names, and left out",
            source,
            len(found) - len(cases),
        )
    return cases


def _is_ours(path: Path) -> bool:
    return _OURS.fullmatch(stem_of(path) or "") is not None
