"""nnU-Net's raw folders → cases: ``dataset.json``, ``imagesTr``, ``labelsTr``, versions 1 and 2."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.bids_masks import tell_without_masks
from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.filenames import ENDINGS, sequence_of
from dal_auto.errors import InputError

logger = logging.getLogger(__name__)

# A case id may itself end in digits: exactly the last four are the channel.
IMAGE_NAME = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def is_nnunet(root: Path) -> bool:
    """Whether `root` has ``dataset.json``, and ``imagesTr`` or a list of files in the former."""
    description = root / "dataset.json"
    if not description.is_file():
        return False
    if (root / "imagesTr").is_dir():
        return True
    try:
        return isinstance(json.loads(description.read_text(encoding="utf-8-sig"))["dataset"], dict)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False


def find_cases(root: Path, dataset: str, *, lesions: bool = True) -> list[RawCase]:
    """The training cases of an nnU-Net folder, sorted by id; test cases have no masks.

    T1, T2 and FLAIR are known by the names of the channels. By nnU-Net's contract all channels of a
    case share one grid; whether the skull is on is to be measured. Where ``dataset.json`` lists the
    files (version 2's key ``dataset``), these are taken.

    Parameters
    ----------
    lesions : whether lesion masks are wanted; without, the labels do not matter

    Raises
    ------
    InputError
        if ``dataset.json`` cannot be read, no channel is a T1, T2 or FLAIR, two channels have the
        same name, the images are not NIfTI, or the labels hold one to be ignored.
    """
    description = root / "dataset.json"
    content = _read(description)
    channels = _channels(content, description)
    if lesions:
        _check_labels(content, description)
    listed = content.get("dataset")
    if listed is None:
        images, masks = _numbered_files(root, channels)
    else:
        images, masks = _listed_files(listed, channels, description)
    claims = ClaimedState(coregistered=True)
    cases = [
        RawCase(
            dataset,
            case,
            case,
            dict(sorted(images[case].items())),
            masks.get(case) if lesions else None,
            claims=claims,
        )
        for case in sorted(images)
    ]
    if lesions:
        tell_without_masks(cases)
    return cases


def channels_of(root: Path) -> dict[int, str]:
    """Channel number → "T1", "T2" or "FLAIR", as ``dataset.json`` says.

    Raises
    ------
    InputError
        if it cannot be read, no channel is a T1, T2 or FLAIR, or two channels have the same name.
    """
    description = root / "dataset.json"
    return _channels(_read(description), description)


def _numbered_files(
    root: Path, channels: dict[int, str]
) -> tuple[dict[str, dict[str, Path]], dict[str, Path]]:
    """Images and masks by case, from ``imagesTr`` and ``labelsTr``."""
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    unnumbered = []
    for stem, path in image_entries(root / "imagesTr").items():
        match = IMAGE_NAME.fullmatch(stem)
        if match is None:
            unnumbered.append(path)
        elif (sequence := channels.get(int(match["channel"]))) is not None:
            images[match["case"]][sequence] = path
    if unnumbered and not images:
        raise InputError(
            unnumbered[0],
            "the name does not end in a channel number such as _0000",
            "If it is a 4-D image, split it into one 3-D file per channel.",
        )
    return images, image_entries(root / "labelsTr")


def _listed_files(
    listed: Any, channels: dict[int, str], description: Path
) -> tuple[dict[str, dict[str, Path]], dict[str, Path]]:
    """Images and masks by case, as ``dataset.json`` lists them, relative to its own folder."""
    images, masks = {}, {}
    try:
        for case, files in listed.items():
            paths = [description.parent / str(path) for path in files["images"]]
            found = {channels[n]: path for n, path in enumerate(paths) if n in channels}
            if found:
                images[str(case)] = found
            if files.get("label"):
                masks[str(case)] = description.parent / str(files["label"])
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            description,
            f"the files under 'dataset' cannot be read ({type(error).__name__}: {error})",
            'Each case needs {"images": [one path per channel], "label": path}.',
        ) from None
    return images, masks


def _read(description: Path) -> dict[str, Any]:
    try:
        content = json.loads(description.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(description, f"not readable as JSON ({error})", "Correct it.") from None
    if not isinstance(content, dict):
        raise InputError(description, "it is no JSON object", "See nnU-Net's dataset format.")
    ending = content.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        raise InputError(
            description, f"the images are {ending} files", "Convert them to .nii.gz (NIfTI)."
        )
    return content


def _channels(content: dict[str, Any], description: Path) -> dict[int, str]:
    """Channel number → "T1", "T2" or "FLAIR"; other channels are left out."""
    names = content.get("channel_names", content.get("modality"))
    if not isinstance(names, dict) or not all(str(number).isdigit() for number in names):
        raise InputError(
            description,
            f"channel_names (in version 1: modality) is {names!r}",
            'It must name the channels, such as {"0": "T1", "1": "T2"}.',
        )
    known = {int(number): sequence_of(str(name)) for number, name in names.items()}
    channels = {number: sequence for number, sequence in known.items() if sequence is not None}
    if not channels:
        raise InputError(
            description,
            f"no channel is a plain T1, T2 or FLAIR: {', '.join(map(str, names.values()))}",
            'Name the channels "T1", "T2" or "FLAIR" there.',
        )
    if len(set(channels.values())) < len(channels):
        raise InputError(
            description,
            f"two channels are of one sequence: {', '.join(map(str, names.values()))}",
            "Give the one that is not to be used another name.",
        )
    return channels


def _check_labels(content: dict[str, Any], description: Path) -> None:
    """Every label > 0 counts as lesion; that would be wrong for voxels to be ignored."""
    labels = content.get("labels", {})
    names = [str(word).lower() for pair in labels.items() for word in pair]
    if "ignore" in names:
        raise InputError(
            description,
            "the labels have an 'ignore' label, which would count as lesion",
            "Write masks without it, and remove it from the labels.",
        )
