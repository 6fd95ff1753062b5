"""BIDS folders → cases: one per subject and session, masks from the derivatives."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.datasets.bids_masks import MASKS, tell_without_masks, with_masks
from dal_auto.datasets.bids_names import BidsFile, parse_name, plainness
from dal_auto.datasets.entries import image_entries
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)


def is_bids(root: Path) -> bool:
    """Whether `root` is a BIDS dataset: one described as such, or two subjects with ``anat``."""
    subjects = {folder.relative_to(root).parts[0] for folder in _anat(root)}
    described = (root / "dataset_description.json").is_file()
    return len(subjects) >= (1 if described else 2)


def find_cases(root: Path, dataset: str, *, lesions: bool = True) -> list[RawCase]:
    """The cases of a BIDS folder, sorted by id, with lesion and brain masks of the derivatives, or
    from beside the images.

    Parameters
    ----------
    lesions : whether lesion masks are wanted; without, a case may have several

    Raises
    ------
    InputError
        if lesion masks are wanted, and a case has several.
    """
    _tell_left_out(_anat(root))
    files = list(_files(_anat(root), root))  # some keep masks beside the images
    cases = cases_from(files, dataset)
    folders = []
    for pipeline in (root / "derivatives", *sorted((root / "derivatives").glob("[!.]*"))):
        folders += [*_anat(pipeline), *_without_anat(pipeline)]
    files += [file for file in _files(folders, root) if file.suffix in MASKS]
    found = with_masks(cases, files, lesions=lesions)
    if cases and not found:
        raise InputError(
            root,
            f"all {len(cases)} cases are left out, since their lesion masks cannot be used",
            "The warnings name them. Bring the masks onto the grids of the images.",
        )
    if lesions:
        tell_without_masks(found)
    return found


def cases_from(files: Iterable[BidsFile], dataset: str) -> list[RawCase]:
    """Group images by subject and session; of several of one sequence, the plainest is taken.

    That is the one with the fewest of ``space-``, ``desc-``, ``acq-``, ``rec-``, ``echo-`` and the
    like, then the lowest run. The others are named in a warning.
    """
    grouped: dict[str, dict[str, list[BidsFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        if file.sequence is not None:
            grouped[file.case_id][file.sequence].append(file)
    cases = []
    for case_id in sorted(grouped):
        images = {}
        for sequence in sorted(grouped[case_id]):
            taken, *dropped = sorted(grouped[case_id][sequence], key=plainness)
            images[sequence] = taken.path
            if dropped:
                names = ", ".join(file.path.name for file in dropped)
                logger.warning("%s: %s is taken, not %s", case_id, taken.path.name, names)
        cases.append(RawCase(dataset, case_id, case_id.split("_")[0], images))
    return cases


def _tell_left_out(folders: Iterable[Path]) -> None:
    """Name the images that are no case's, with the reason."""
    for folder in folders:
        for stem, path in image_entries(folder).items():
            file = parse_name(stem, path)
            if file is None:
                logger.warning(
                    "%s is left out: its name is none of BIDS (labels have letters and digits)",
                    path,
                )
            elif file.sequence is None and file.suffix not in MASKS:
                what = file.oddity or file.suffix
                logger.warning("%s is left out: %s is no T1w, T2w or FLAIR", path, what)


def _anat(root: Path) -> list[Path]:
    return _folders(root, "sub-*/anat", "sub-*/ses-*/anat")


def _without_anat(root: Path) -> list[Path]:
    """Folders of subjects and sessions, where derivatives may lie without the level ``anat``."""
    return _folders(root, "sub-*", "sub-*/ses-*")


def _folders(root: Path, *patterns: str) -> list[Path]:
    return sorted(
        folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir()
    )


def _files(folders: Iterable[Path], root: Path) -> Iterator[BidsFile]:
    for folder in folders:
        for stem, path in image_entries(folder).items():
            file = parse_name(stem, path)
            if file is not None and (placed := _in_its_folder(file, root)) is not None:
                yield placed


def _in_its_folder(file: BidsFile, root: Path) -> BidsFile | None:
    """The file as its folders and its name call it; None where they contradict each other."""
    above = [part.partition("-") for part in file.path.parent.relative_to(root).parts]
    folders = {key: value for key, dash, value in above if dash and key in ("sub", "ses")}
    for key, value in folders.items():
        if file.entities.get(key, value) != value:
            logger.warning(
                "%s is left out: its name says %s-%s, and it lies in %s-%s",
                *(file.path, key, file.entities[key], key, value),
            )
            return None
    # Two visits whose names do not tell the session are two cases all the same.
    return replace(file, entities={**folders, **file.entities})
