"""What a check looks at, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dal_auto.case import RawCase
from dal_auto.datasets.overlap import Overlap
from dal_auto.datasets.record import Expected, Layout
from dal_auto.datasets.registry import Dataset
from dal_auto.preprocessing.fingerprint.dataset import CaseFingerprint, Fingerprint

Result = Literal["E", "W", "ok", "–"]


@dataclass(frozen=True)
class Finding:
    """Something to say: how bad it is, what, of which cases (id → in words), and what to do."""

    result: Result
    words: str
    cases: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Parameters
    ----------
    others : name → fingerprints of other datasets, for images that are in both
    overlap : what is known of shared scans; None where that could not be read
    """

    dataset: Dataset
    fingerprint: Fingerprint
    others: Mapping[str, Fingerprint]
    overlap: Overlap | None

    @property
    def layout(self) -> Layout | None:
        return self.dataset.found.layout if self.dataset.found else None

    @property
    def expected(self) -> Expected:
        return self.dataset.record.expected if self.dataset.record else Expected()

    def readable(self) -> Iterator[tuple[RawCase, CaseFingerprint]]:
        """Cases that could be measured."""
        measured = {case.case_id: case for case in self.fingerprint.cases}
        for case in self.dataset.cases:
            one = measured.get(case.case_id)
            if one is not None and one.finding is None:
                yield case, one

    def masked(self) -> Iterator[tuple[RawCase, CaseFingerprint]]:
        return ((c, m) for c, m in self.readable() if c.lesion_mask is not None)
