"""A dataset's record: one JSON file that says how its cases lie on disk and what was done to them.

`dal_auto.datasets.search` turns a record and a folder into cases.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from dal_auto.errors import InputError, PlansError
from dal_auto.plans import Section

Patterns = tuple[str, ...]
OWN_RECORD = "dal_record.json"  # in the dataset's folder


class CaseRule(Section):
    """How a case is recognised.

    Parameters
    ----------
    kind : "directory", a folder per case, or "file", any number of files that share an id
    regex : matches the whole name of the folder, or of the file without its ending. Group ``case``
        is the case id, ``subject`` the patient's (default: the case id); for files, ``seq`` is the
        word that tells the sequence.
    """

    kind: Literal["directory", "file"]
    regex: str

    @field_validator("regex")
    @classmethod
    def _has_groups(cls, regex: str, info: ValidationInfo) -> str:
        try:
            groups = re.compile(regex).groupindex
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        for name in ("case", "seq") if info.data.get("kind") == "file" else ("case",):
            if name not in groups:
                raise ValueError(f"it needs a group (?P<{name}>…)")
        return regex


class Claims(Section):
    """What the dataset's makers say was already done; null = not known, or in conflict."""

    stripped: bool | None = None
    registered: bool | None = None
    bias_corrected: bool | None = None
    coregistered: bool | None = None


class Layout(Section):
    """One of the ways in which a dataset lies on users' disks.

    Parameters
    ----------
    id : name for messages
    case : how a case is recognised, at any depth below the dataset's folder
    sequences : sequence name → for folders, patterns of files relative to the case's folder, best
        first, *without* the ending (``{case}_t1`` finds ``….nii.gz`` and ``….nii`` and can never
        find ``…_t1ce``); ``{case}`` is the case id. For files, values of the group ``seq``.
    lesion_masks, brain_masks : patterns as above, best first; may begin with ``../``
    mask_labels : value in the lesion mask → its meaning; every value > 0 is lesion
    skip : names of folders not to enter
    overrides : names of folders whose cases replace those of the same id found elsewhere
    claims : what was already done to the images
    """

    id: str
    case: CaseRule
    sequences: dict[str, Patterns] = Field(min_length=1)
    lesion_masks: Patterns = ()
    brain_masks: Patterns = ()
    mask_labels: dict[str, str] = Field(default_factory=dict)
    skip: Patterns = ()
    overrides: Patterns = ()
    claims: Claims = Claims()


class Expected(Section):
    """How many there are in a complete download.

    Parameters
    ----------
    cases, patients : to be found on disk; null = not known
    paper : the number of cases that the paper reports
    """

    cases: int | None = None
    patients: int | None = None
    paper: int | None = None


class Access(Section):
    """Where to get the data, and under which terms; registration null = not known."""

    url: str
    licence: str
    registration: bool | None = None


class DatasetRecord(Section):
    """What is known of a dataset.

    Parameters
    ----------
    name : as users type it, and as its folder in DAL_RAW is called
    title : in full
    role : "training" (healthy) or "test" (with lesions)
    layouts : tried in order; the first that finds a case is taken
    refuse : name of a folder (pattern) → why its presence means that this is another dataset
    excluded : case id → why it is left out
    notes : defects and choices that users should know of
    verified : part of the record → how well it is known
    """

    name: str
    title: str
    role: Literal["training", "test"]
    expected: Expected = Expected()
    layouts: tuple[Layout, ...] = Field(min_length=1)
    refuse: dict[str, str] = Field(default_factory=dict)
    excluded: dict[str, str] = Field(default_factory=dict)
    access: Access
    citation: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    verified: dict[str, str] = Field(default_factory=dict)


def read_record(path: Path) -> DatasetRecord:
    """Read and validate a record.

    Raises
    ------
    InputError
        naming the key, the value found and the rule it breaks.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"not readable as JSON ({error})", "Correct the file.") from None
    try:
        return DatasetRecord.parse(content)
    except PlansError as error:
        raise InputError(
            path,
            f"{error.key or 'the content'} is {error.value!r}: {error.rule}",
            "Correct the record; those in dal_auto/datasets/records are examples.",
        ) from None
