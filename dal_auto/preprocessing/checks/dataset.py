"""A dataset to check: what is on disk, what was measured, and what is known of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from dal_auto.case import RawCase
from dal_auto.datasets.overlap import Overlap
from dal_auto.datasets.record import Expected, Layout
from dal_auto.datasets.registry import Dataset
from dal_auto.findings import Finding
from dal_auto.preprocessing.fingerprint.dataset import CaseFingerprint, Fingerprint


@dataclass(frozen=True)
class MeasuredDataset:
    """What is checked.

    Parameters
    ----------
    on_disk : the dataset with its record
    fingerprint : of its cases
    others : name → fingerprints of other datasets, for images that are in both
    overlap : what is known of shared scans; None where that could not be read
    """

    on_disk: Dataset
    fingerprint: Fingerprint
    others: Mapping[str, Fingerprint]
    overlap: Overlap | None

    @property
    def layout(self) -> Layout | None:
        return self.on_disk.found.layout if self.on_disk.found else None

    @property
    def expected(self) -> Expected:
        return self.on_disk.record.expected if self.on_disk.record else Expected()

    def readable(self) -> Iterator[tuple[RawCase, CaseFingerprint]]:
        """Cases that could be measured."""
        measured = {case.case_id: case for case in self.fingerprint.cases}
        for case in self.on_disk.cases:
            figures = measured.get(case.case_id)
            if figures is not None and figures.failure is None:
                yield case, figures

    def masked(self) -> Iterator[tuple[RawCase, CaseFingerprint]]:
        """Those of them that have a lesion mask."""
        return ((c, m) for c, m in self.readable() if c.lesion_mask is not None)

    def findings(self, codes: Container[str]) -> list[Finding]:
        """What the measurement found of these codes, with the cases named."""
        return [
            finding.of(case.case_id)
            for case in self.fingerprint.cases
            for finding in case.findings
            if finding.code in codes
        ]
