"""A dataset's record: one JSON file that says how its cases lie on disk and what was done to them.

`dal_auto.datasets.search` turns a record and a folder into cases.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from dal_auto.datasets.filenames import sequence_of
from dal_auto.errors import InputError, PlansError
from dal_auto.schema import Section


def _relative(pattern: str) -> str:
    if not pattern or pattern.startswith(("/", "\\")) or "\0" in pattern:
        raise ValueError("a pattern relative to the case's folder is wanted")
    return pattern


Patterns = tuple[Annotated[str, AfterValidator(_relative)], ...]
OWN_RECORD = "dal_record.json"  # in the dataset's folder


class CaseRule(Section):
    """How a case is recognised.

    Parameters
    ----------
    kind : "directory", a folder per case, or "file", any number of files that share an id
    regex : matches the whole name of the folder, or of the file without its ending. Group ``case``
        is the case id, ``subject`` the patient's (default: the case id), ``subset`` a part of the
        dataset; for files, ``seq`` is the word that tells the sequence.
    example : such a name, for messages
    """

    kind: Literal["directory", "file"]
    regex: str
    example: str = ""

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

    @field_validator("example")
    @classmethod
    def _is_one(cls, example: str, info: ValidationInfo) -> str:
        regex = info.data.get("regex")
        if example and regex is not None and not re.fullmatch(regex, example):
            raise ValueError("the regex does not match it")
        return example


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
    within : names of folders (patterns), one of which must lie above a case; none = anywhere
    sequences : sequence name → for folders, patterns of files relative to the case's folder, best
        first, *without* the ending (``{case}_t1`` finds ``….nii.gz`` and ``….nii`` and can never
        find ``…_t1ce``); ``{case}`` is the case id. For files, values of the group ``seq``.
    lesion_masks, brain_masks : patterns as above, best first; may begin with ``../``
    automated_masks : lesion masks drawn by a program, taken where no `lesion_masks` finds one
    mask_labels : value in the lesion mask → its meaning; every value > 0 is lesion
    tolerated_labels : further value → what it tells; it is lesion too, and a warning
    skip : name of a folder (pattern) not to enter → why
    overrides : name of a folder (pattern) whose cases replace those of the same id found
        elsewhere → how many it holds, null = not known
    claims : what was already done to the images
    shape, spacing_mm : grid of all images, where there is one; another is a warning
    coarsest_mm : a larger voxel than this, along any axis, is a warning
    """

    id: str
    case: CaseRule
    within: Patterns = ()
    sequences: dict[str, Patterns] = Field(min_length=1)
    lesion_masks: Patterns = ()
    automated_masks: Patterns = ()
    brain_masks: Patterns = ()
    mask_labels: dict[str, str] = Field(default_factory=dict)
    tolerated_labels: dict[str, str] = Field(default_factory=dict)
    skip: dict[str, str] = Field(default_factory=dict)
    overrides: dict[str, int | None] = Field(default_factory=dict)
    claims: Claims = Claims()
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    coarsest_mm: float | None = None

    @field_validator("sequences")
    @classmethod
    def _are_known_names(cls, sequences: dict[str, Patterns]) -> dict[str, Patterns]:
        for name in sequences:
            if (known := sequence_of(name)) not in (None, name):
                raise ValueError(f"{name!r} is called {known!r} here")
        return sequences

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Self:
        """Files that share an id have no folder that masks could lie in."""
        folders = ("lesion_masks", "automated_masks", "brain_masks", "overrides")
        if self.case.kind == "file":
            for key in folders:
                if getattr(self, key):
                    raise ValueError(
                        f"with cases of kind 'file' {key} is of no effect: leave it out"
                    )
        return self

    @field_validator("mask_labels", "tolerated_labels")
    @classmethod
    def _are_values(cls, labels: dict[str, str]) -> dict[str, str]:
        for value in labels:
            if not value.isdigit():
                raise ValueError(f"{value!r} is no value of a mask, which are whole numbers")
        return labels


class Expected(Section):
    """How many there are in a complete download; null = not known.

    Parameters
    ----------
    cases, patients : to be found on disk, with those that are left out
    also : other numbers of cases that are complete, such as another release's
    paper : the number of cases that the paper reports
    pairs : cases with all sequences
    images : sequence → number of images
    lacking : sequence → cases that are known not to have it
    expert_masks : lesion masks that are not automated
    subsets : subset → number of cases
    ids : every case id, where they are known
    brain_ml : volumes between which a whole brain lies in this population
    """

    cases: int | None = None
    patients: int | None = None
    also: tuple[int, ...] = ()
    paper: int | None = None
    pairs: int | None = None
    images: dict[str, int] = Field(default_factory=dict)
    lacking: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    expert_masks: int | None = None
    subsets: dict[str, int] = Field(default_factory=dict)
    ids: tuple[str, ...] = ()
    brain_ml: tuple[float, float] = (1000.0, 2000.0)


class PatientTable(Section):
    """A table among the downloaded files that tells patients where the case ids do not.

    Parameters
    ----------
    file : name (pattern) without its ending, .xlsx or .csv
    layout : the layout whose ids do not tell patients
    case_column : holds the case ids
    patient_column : holds what tells the patient
    patient_regex : the part of it that is the patient's id
    """

    file: str
    layout: str
    case_column: str
    patient_column: str
    patient_regex: str


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
    layouts : best first; one is taken for the whole set, see `dal_auto.datasets.search`
    refuse : name of a folder (pattern) → why its presence means that this is another dataset
    excluded : case id → why it is left out
    known : case id (pattern) → what is known of the case, which is used all the same
    renamed : case id of an earlier release → today's, which tells the patient
    patient_table : tells patients where the ids do not
    subsets : name of a folder above the case (pattern) → part of the dataset that it holds; the
        group ``subset`` of a layout's regex does the same
    overlaps : another dataset → number of scans that are in both
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
    known: dict[str, str] = Field(default_factory=dict)
    renamed: dict[str, str] = Field(default_factory=dict)
    patient_table: PatientTable | None = None
    subsets: dict[str, str] = Field(default_factory=dict)
    overlaps: dict[str, int] = Field(default_factory=dict)
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
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"not readable as JSON ({error})", "Correct the file.") from None
    try:
        return DatasetRecord.parse(content)
    except PlansError as error:
        raise InputError(
            path,
            f"{error.key or 'the content'} is {error.value!r}: {error.rule}",
            "Correct the record; those in dal_auto/datasets/records are examples.",
        ) from None
