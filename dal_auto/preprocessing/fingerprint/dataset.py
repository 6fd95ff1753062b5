"""What was found in a dataset, measured rather than believed."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from dal_auto.case import RawCase
from dal_auto.errors import DalError
from dal_auto.findings import Finding
from dal_auto.preprocessing.fingerprint.case import (
    CaseFingerprint,
    fingerprint_case,
    unreadable,
)
from dal_auto.preprocessing.fingerprint.image import ImageFingerprint
from dal_auto.preprocessing.fingerprint.kinds import SAME_VOXELS
from dal_auto.preprocessing.fingerprint.orientation import Box
from dal_auto.preprocessing.fingerprint.summary import outlying_figures, summary_lines
from dal_auto.schema import Section
from dal_auto.store.atomic import write_json
from dal_auto.workers import Workforce, run_tasks

__all__ = [
    "CaseFingerprint",
    "Fingerprint",
    "ImageFingerprint",
    "fingerprint_case",
    "fingerprint_dataset",
]

logger = logging.getLogger(__name__)

#: So many cases must agree on the true header before it is taken for one that does not tell itself.
_ENOUGH_AGREEING = 3
_PLACES_SHOWN = 5
#: Peak of a worker with its libraries and the atlas, measured on two images of 320×320×256.
_TASK_BYTES = 800_000_000


class Fingerprint(Section):
    """A dataset: one record per case."""

    dataset: str
    cases: tuple[CaseFingerprint, ...]

    def case(self, case_id: str) -> CaseFingerprint:
        return next(case for case in self.cases if case.case_id == case_id)

    def outliers(self) -> list[Finding]:
        """The cases' figures that are far from the cohort's median."""
        return outlying_figures(self.cases)

    def summary(self) -> list[str]:
        """A few readable lines."""
        return summary_lines(self.dataset, self.cases)

    def save(self, path: Path) -> None:
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def fingerprint_dataset(
    name: str, cases: Sequence[RawCase], *, workforce: Workforce
) -> Fingerprint:
    """Measure every case of a dataset, in parallel; the order of the cases is kept.

    Where all cases whose content overrules their header agree on the true one, those that do not
    tell by themselves are taken to be stored alike. Equal voxels under two ids are warned of.
    """
    found = dict(_measure(cases, f"{name}: measure", workforce, None))
    boxes = [case.true_header for case in found.values() if case.true_header is not None]
    unsure = [case for case in cases if found[case.case_id].header_in_doubt]
    if unsure and len(boxes) >= _ENOUGH_AGREEING and len(set(boxes)) == 1:
        found |= dict(_measure(unsure, f"{name}: as {boxes[0]}", workforce, boxes[0]))
    twins = _same_voxels(found)
    return Fingerprint(
        dataset=name,
        cases=tuple(
            case.model_copy(update={"findings": (*case.findings, *twins[case.case_id])})
            for case in (found[case.case_id] for case in cases)
        ),
    )


def _measure(
    cases: Sequence[RawCase], title: str, workforce: Workforce, true_header: Box | None
) -> Iterator[tuple[str, CaseFingerprint]]:
    for case_id, outcome in run_tasks(
        partial(fingerprint_case, true_header=true_header),
        cases,
        [case.case_id for case in cases],
        workforce=workforce,
        title=title,
        task_bytes=_TASK_BYTES,
    ):
        if isinstance(outcome, DalError):
            outcome = unreadable(case_id, outcome)
        if outcome.failure is not None:
            logger.error("%s: %s", case_id, outcome.failure)
        yield case_id, outcome


def _same_voxels(cases: Mapping[str, CaseFingerprint]) -> dict[str, list[Finding]]:
    """Case id → which of its images are also another case's."""
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for case_id, case in cases.items():
        for name, image in case.images.items():
            places[image.voxels_sha256].setdefault(case_id, name)
    return {
        case_id: [
            SAME_VOXELS.found(f"{name} has the voxels of {_places(others)}")
            for name, image in case.images.items()
            if (others := {i: n for i, n in places[image.voxels_sha256].items() if i != case_id})
        ]
        for case_id, case in cases.items()
    }


def _places(images: Mapping[str, str]) -> str:
    """Such as "IXI012 T1, IXI015 T1": the first of them, and how many more there are."""
    shown = ", ".join(f"{case_id} {name}" for case_id, name in list(images.items())[:_PLACES_SHOWN])
    more = len(images) - _PLACES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
