"""Is a dataset what its record says? Checks of what was found and measured, as a table.

Nothing is read here: the cases come from `dal_auto.datasets`, the figures from the fingerprint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from dal_auto.datasets.overlap import Overlap
from dal_auto.datasets.registry import Dataset
from dal_auto.errors import legible
from dal_auto.findings import LEVELS, Finding, Kind, Level, by_code
from dal_auto.images.oddities import FORMS_CONFLICT
from dal_auto.preprocessing.checks import counts, images, masks
from dal_auto.preprocessing.checks.dataset import MeasuredDataset
from dal_auto.preprocessing.fingerprint import kinds
from dal_auto.preprocessing.fingerprint.dataset import Fingerprint
from dal_auto.store.atomic import replacing, write_json

logger = logging.getLogger(__name__)

Rule = Callable[[MeasuredDataset, Sequence[Finding]], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A check: what of the measurement's findings it lists, and what it adds.

    Parameters
    ----------
    rule : gets the dataset and those findings, and makes further ones
    kinds : of the measurement's findings; None for those that no other check lists
    """

    name: str
    rule: Rule
    kinds: tuple[Kind, ...] | None = ()


#: In the order in which they are numbered; the first ten are those of the docs.
CHECKS: tuple[Check, ...] = (
    Check("readable", images.files, (kinds.UNREADABLE,)),
    Check("grids", images.grids, (kinds.MASK_GRID, kinds.MASK_SHIFTED, FORMS_CONFLICT)),
    Check(
        "mask labels",
        masks.labels,
        (kinds.MASK_FRACTIONS, kinds.MASK_ROUNDED, kinds.MASK_NEGATIVE, kinds.MASK_EMPTY),
    ),
    Check(
        "lesions",
        masks.lesions,
        (kinds.LESION_VOLUME, kinds.LESION_FLIPPED, kinds.LESION_OUTSIDE),
    ),
    Check("stripping", images.stripping, (kinds.PARTLY_STRIPPED,)),
    Check("background", images.background, (kinds.NEGATIVE,)),
    Check("orientation", images.orientation, (kinds.HEADER_WRONG, kinds.HEADER_IN_DOUBT)),
    Check("contrasts", images.contrasts, (kinds.CONTRAST,)),
    Check("duplicates", counts.duplicates, (kinds.SAME_VOXELS,)),
    Check("counts", counts.counts),
    Check("oddities", counts.oddities, None),
)


@dataclass(frozen=True)
class CheckLine:
    """One line of the table: what a check found of one code.

    Parameters
    ----------
    number, check : which check
    findings : of one code; one per case, or one alone that is about the dataset
    """

    number: int
    check: str
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        return self.findings[0].level

    @property
    def title(self) -> str:
        return self.findings[0].title

    @property
    def remedy(self) -> str:
        return self.findings[0].remedy

    @property
    def cases(self) -> dict[str, str]:
        """Case id → what was found, in words, sorted by id."""
        words: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.case:
                words.setdefault(finding.case, []).append(finding.words)
        return {case_id: "; ".join(words[case_id]) for case_id in sorted(words)}


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
    measured = MeasuredDataset(dataset, fingerprint, others or {}, overlap)
    listed = {kind.code for check in CHECKS for kind in check.kinds or ()}
    unlisted = {f.code for case in fingerprint.cases for f in case.findings} - listed
    lines = []
    for number, check in enumerate(CHECKS, start=1):
        own = unlisted if check.kinds is None else {kind.code for kind in check.kinds}
        found = measured.findings(own)
        groups = by_code([*found, *check.rule(measured, found)]).values()
        for group in sorted(groups, key=lambda group: LEVELS.index(group[0].level)):
            lines.append(CheckLine(number, check.name, tuple(group)))
    return lines


def has_errors(lines: Sequence[CheckLine]) -> bool:
    """Whether any line is an error."""
    return any(line.level == "error" for line in lines)


def write_check(folder: Path, lines: Sequence[CheckLine]) -> None:
    """Write ``check.csv``, one row per finding and case, and ``check.json``, the findings."""
    rows = [
        {
            "number": line.number,
            "check": line.check,
            "result": line.level,
            "finding": line.title,
            "case": legible(case_id),
            "details": legible(words),
            "what to do": line.remedy,
        }
        for line in lines
        for case_id, words in (line.cases or {"": ""}).items()
    ]
    with replacing(folder / "check.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    content = [
        {"number": line.number, "check": line.check, **finding.model_dump(mode="json")}
        for line in lines
        for finding in line.findings
    ]
    write_json(folder / "check.json", content)


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
