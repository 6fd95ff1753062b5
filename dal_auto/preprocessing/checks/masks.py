"""Checks of the lesion masks: labels, volumes, and whether they fit the brain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from dal_auto.findings import Finding, Kind, fine, nothing
from dal_auto.preprocessing.checks.dataset import MeasuredDataset

FOREIGN = Kind(
    "foreign-labels",
    "masks hold labels that the record does not know",
    "Another release, or another kind of mask? Every value above 0.5 would count as lesion.",
    level="error",
)


def labels(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """3: masks hold whole numbers that the record knows; none is empty."""
    layout = dataset.layout
    known = {int(value) for value in layout.mask_labels} if layout else set()
    tolerated = {
        int(value): Kind(f"label-{value}", words, "It counts as lesion; see that the set is right.")
        for value, words in (layout.tolerated_labels.items() if layout else ())
    }
    values: Counter[int] = Counter()
    masked = list(dataset.masked())
    for case, found in masked:
        words = "labels " + ", ".join(f"{value:g}" for value in found.lesion_labels)
        present = {round(value) for value in found.lesion_labels}
        values.update(present)
        for value in sorted(present & set(tolerated)):
            yield tolerated[value].found(words, case=case.case_id, value=value)
        if known and present - known - set(tolerated) - {0}:
            yield FOREIGN.found(words, case=case.case_id)
    if not masked:
        yield nothing("mask labels", "no lesion masks")
        return
    counts = ", ".join(f"{value} in {count}" for value, count in sorted(values.items()))
    yield fine("mask labels", f"{len(masked)} masks with labels {counts}")


def lesions(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """4: lesions of plausible volume, inside the brain."""
    volumes = [found.lesion_ml for _, found in dataset.masked() if found.lesion_ml]
    if not volumes:
        yield nothing("lesions", "no lesion masks with a lesion")
        return
    yield fine("lesions", f"median {median(volumes):.1f} ml in {len(volumes)} cases")
