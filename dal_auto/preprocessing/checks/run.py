"""Is a dataset what its record says? Checks of what was found and measured, as a table.

Nothing is read here: the cases come from `dal_auto.datasets`, the figures from the fingerprint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field, ValidationError

from dal_auto.datasets.overlap import Overlap
from dal_auto.datasets.registry import Dataset
from dal_auto.preprocessing.checks import counts, images, masks
from dal_auto.preprocessing.checks.subject import Finding, Result, Subject
from dal_auto.preprocessing.fingerprint.dataset import Fingerprint
from dal_auto.schema import Section
from dal_auto.store.atomic import replacing, write_json

logger = logging.getLogger(__name__)

#: In the order in which they are numbered; the first ten are those of the docs.
CHECKS: tuple[tuple[str, Callable[[Subject], Iterator[Finding]]], ...] = (
    ("readable", images.files),
    ("grids", images.grids),
    ("mask labels", masks.labels),
    ("lesions", masks.lesions),
    ("stripping", images.stripping),
    ("background", images.background),
    ("orientation", images.orientation),
    ("contrasts", images.contrasts),
    ("doubles", counts.doubles),
    ("counts", counts.counts),
    ("oddities", counts.oddities),
)


class CheckLine(Section):
    """One line of the table.

    Parameters
    ----------
    number, check : which check
    result : "E", cases are refused or unusable; "W", look at it; "ok"; "–", there was nothing
    finding : in words
    cases : case id → in words, for those that the finding is about
    remedy : what to do
    """

    number: int
    check: str
    result: Result
    finding: str
    cases: dict[str, str] = Field(default_factory=dict)
    remedy: str = ""


def check_dataset(
    dataset: Dataset,
    fingerprint: Fingerprint,
    *,
    others: Mapping[str, Fingerprint] | None = None,
    overlap: Overlap | None = None,
) -> list[CheckLine]:
    """Run all checks; of each the errors come first, then warnings, then what is well.

    Parameters
    ----------
    dataset : as found on disk
    fingerprint : of its cases
    others : name → fingerprint of other datasets, for images that lie in both
    overlap : what is known of scans shared with other sets
    """
    subject = Subject(dataset, fingerprint, others or {}, overlap)
    order = ("E", "W", "ok", "–")
    lines = []
    for number, (check, rule) in enumerate(CHECKS, start=1):
        for finding in sorted(rule(subject), key=lambda one: order.index(one.result)):
            lines.append(
                CheckLine(
                    number=number,
                    check=check,
                    result=finding.result,
                    finding=finding.words,
                    cases=dict(sorted(finding.cases.items())),
                    remedy=finding.remedy,
                )
            )
    return lines


def has_errors(lines: Sequence[CheckLine]) -> bool:
    """Whether any line is an "E"."""
    return any(line.result == "E" for line in lines)


def write_check(folder: Path, lines: Sequence[CheckLine]) -> None:
    """Write ``check.csv``, one row per finding and case, and ``check.json``, the lines."""
    rows = [
        {
            "number": line.number,
            "check": line.check,
            "result": line.result,
            "finding": line.finding,
            "case": case_id,
            "details": words,
            "what to do": line.remedy,
        }
        for line in lines
        for case_id, words in (line.cases or {"": ""}).items()
    ]
    with replacing(folder / "check.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    write_json(folder / "check.json", [line.model_dump(mode="json") for line in lines])


def saved_fingerprints(preprocessed: Path, but: str) -> dict[str, Fingerprint]:
    """Dataset → the fingerprint kept in DAL_PREPROCESSED, of all datasets but one."""
    found = {}
    for path in sorted(preprocessed.glob("*/fingerprint.json")):
        if path.parent.name == but:
            continue
        try:
            found[path.parent.name] = Fingerprint.load(path)
        except (OSError, ValidationError):
            logger.warning(
                "%s was written by another version and is not compared; "
                "`dal_datasets check %s` writes it anew", path, path.parent.name,
            )  # fmt: skip
    return found
