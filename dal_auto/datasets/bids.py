"""BIDS folders → cases: one per subject and session, masks from the derivatives.

The rules follow the BIDS specification's file names: entities ``key-value`` joined by ``_``, then
a suffix.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.filenames import sequence_of
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

_SUFFIXES = ("T1w", "T2w", "FLAIR")
_ENTITY = re.compile(r"(?P<key>[a-z]+)-(?P<value>[A-Za-z0-9+]+)")
_LESION = re.compile(r"lesion|tumou?r|wmh|stroke|infarct", re.IGNORECASE)
_MASKS = ("mask", "dseg", "roi")
#: Entities that tell images of one sequence apart, and by which masks name theirs.
_VERSIONS = ("acq", "rec", "run")
# Values of `space-` that mean one of the case's own images, not a template.
_OWN_SPACES = {None, "T1w", "T2w", "FLAIR", "orig", "individual"}


@dataclass(frozen=True)
class BidsFile:
    """One file and what its name says: entities without the suffix, and the suffix."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def case_id(self) -> str:
        """``sub-01`` or ``sub-01_ses-1``."""
        keys = [key for key in ("sub", "ses") if key in self.entities]
        return "_".join(f"{key}-{self.entities[key]}" for key in keys)

    @property
    def sequence(self) -> str | None:
        """ "T1", "T2" or "FLAIR"; None for other images, and with a contrast agent (``ce-``)."""
        if self.suffix not in _SUFFIXES or self.oddity:
            return None
        return sequence_of(self.suffix)

    @property
    def oddity(self) -> str:
        """What makes it another image than a plain one of its suffix; empty for most."""
        if "ce" in self.entities:
            return "with a contrast agent"
        part = self.entities.get("part", "mag")
        return "" if part == "mag" else f"the {part} of a complex image"


def parse_name(stem: str, path: Path) -> BidsFile | None:
    """Read a file name without its ending; None if it is not of the form ``sub-…_suffix``."""
    *parts, suffix = stem.split("_")
    matches = [_ENTITY.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        return None
    entities = {match["key"]: match["value"] for match in matches if match}
    return BidsFile(path, entities, suffix) if "sub" in entities else None


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
    images = list(_files(_anat(root)))
    cases = cases_from(images, dataset)
    masks: dict[str, list[BidsFile]] = defaultdict(list)
    folders = _anat(root)  # some keep masks beside the images
    for pipeline in (root / "derivatives", *sorted((root / "derivatives").glob("[!.]*"))):
        folders += [*_anat(pipeline), *_without_anat(pipeline)]
    ids = {case.case_id for case in cases}
    for file in _files(folders):
        if file.suffix in _MASKS and (lesions or not _names_lesion(file)):
            masks[_case_of(file, ids)].append(file)
    for case_id in sorted(set(masks) - ids) if lesions else ():
        logger.warning("%s is left out: no case is called %s", masks[case_id][0].path, case_id)
    found = [
        _with_masks(case, masks[case.case_id], [i for i in images if i.case_id == case.case_id])
        for case in cases
    ]
    whole = [case for case in found if case is not None]
    if lesions:
        tell_without_masks(whole)
    return whole


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
            taken, *dropped = sorted(grouped[case_id][sequence], key=_plainness)
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
            elif file.sequence is None and file.suffix not in _MASKS:
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


def _files(folders: Iterable[Path]) -> Iterator[BidsFile]:
    for folder in folders:
        for stem, path in image_entries(folder).items():
            file = parse_name(stem, path)
            if file is not None and (placed := _in_its_folder(file)) is not None:
                yield placed


def _in_its_folder(file: BidsFile) -> BidsFile | None:
    """The file as its folders and its name call it; None where they contradict each other."""
    above = [part.partition("-") for part in file.path.parent.parts[-3:]]
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


def _case_of(mask: BidsFile, ids: Collection[str]) -> str:
    """The case of a mask; one that names no session is of the subject's only case."""
    same = [one for one in ids if one.split("_")[0] == f"sub-{mask.entities['sub']}"]
    return same[0] if "ses" not in mask.entities and len(same) == 1 else mask.case_id


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


def _plainness(file: BidsFile) -> tuple[int, int, str]:
    others = ("space", "desc", "acq", "rec", "echo", "inv", "mt", "chunk", "part")
    extras = sum(key in file.entities for key in others)
    run = file.entities.get("run", "0")
    return extras, int(run) if run.isdigit() else 0, file.path.name


def _with_masks(case: RawCase, masks: list[BidsFile], images: Sequence[BidsFile]) -> RawCase | None:
    """The case with its masks; None for one whose lesion mask cannot be used: it is not healthy.

    Parameters
    ----------
    images : all of the case, those that were not taken too
    """
    taken = [image for image in images if image.path in case.sequences.values()]
    own = [file for file in masks if file.entities.get("space") in _OWN_SPACES]
    own = [file for file in own if not _is_of_another(file, taken, images)]
    own.sort(key=_plainness)
    lesions = [file for file in masks if _names_lesion(file)]
    usable = [file for file in lesions if file in own]
    if lesions and not usable:
        logger.warning(
            "%s is left out: its lesion mask, %s, is on a template's grid or of another image "
            "than those that are taken",
            case.case_id, lesions[0].path,
        )  # fmt: skip
        return None
    if len(usable) > 1:
        raise InputError(
            usable[1].path,
            f"case {case.case_id} has a second lesion mask, {usable[0].path}",
            "Keep one of the two.",
        )
    brains = [
        file for file in own
        if file.suffix == "mask" and file.entities.get("desc", "").lower() == "brain"
    ]  # fmt: skip
    if len(brains) > 1:
        names = ", ".join(file.path.name for file in brains[1:])
        logger.warning("%s: %s is taken, not %s", case.case_id, brains[0].path.name, names)
    return RawCase(
        case.dataset,
        case.case_id,
        case.patient_id,
        case.sequences,
        usable[0].path if usable else None,
        brains[0].path if brains else None,
        case.claims,
    )


def _is_of_another(mask: BidsFile, taken: Sequence[BidsFile], images: Sequence[BidsFile]) -> bool:
    """Whether a mask names a run, acquisition or reconstruction of an image that is not taken."""
    for key in _VERSIONS:
        value = mask.entities.get(key)
        of_taken, of_all = (
            value in {one.entities.get(key) for one in several} for several in (taken, images)
        )
        if value is not None and of_all and not of_taken:
            logger.warning("%s is left out: it is of an image that is not taken", mask.path)
            return True
    return False


def _names_lesion(file: BidsFile) -> bool:
    label, desc = file.entities.get("label", ""), file.entities.get("desc", "")
    return label == "L" or bool(_LESION.search(label) or _LESION.search(desc))
