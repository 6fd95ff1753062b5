"""Checks of the lesion masks: labels, volumes, and whether they fit the brain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median

from dal_auto.preprocessing.checks.subject import Finding, Subject

#: Lesions smaller or larger than this, in ml, are worth a look.
LESION_ML = (0.01, 500.0)
#: Share of a lesion outside the brain above which it is listed.
OUTSIDE_SHARE = 0.05
#: Labels up to this far from a whole number are rounding errors; further, the mask is no label map.
ROUNDING = 0.1


def labels(subject: Subject) -> Iterator[Finding]:
    """3: masks hold whole numbers that the record knows; none is empty."""
    known = {int(v) for v in subject.layout.mask_labels} if subject.layout else set()
    told = {int(v): w for v, w in subject.layout.tolerated_labels.items()} if subject.layout else {}
    fractions: dict[str, str] = {}
    rounded: dict[str, str] = {}
    foreign: dict[str, str] = {}
    empty: dict[str, str] = {}
    tolerated: dict[int, dict[str, str]] = defaultdict(dict)
    values: Counter[int] = Counter()
    number = 0
    for case, found in subject.masked():
        number += 1
        words = "labels " + ", ".join(f"{value:g}" for value in found.lesion_labels)
        if not found.lesion_ml:
            empty[case.case_id] = "no voxel is marked"
        if not found.lesion_labels_integer:
            far = max((abs(v - round(v)) for v in found.lesion_labels), default=1.0)
            (rounded if far <= ROUNDING else fractions)[case.case_id] = words
        present = {round(value) for value in found.lesion_labels}
        values.update(present)
        for value in present & set(told):
            tolerated[value][case.case_id] = words
        if known and present - known - set(told) - {0}:
            foreign[case.case_id] = words
    if not number:
        yield Finding("–", "no lesion masks")
        return
    if fractions:
        yield Finding(
            "E", "masks hold fractions: probabilities, or labels resampled linearly", fractions,
            "Get the label maps; a threshold of your own changes the lesions.",
        )  # fmt: skip
    if foreign:
        yield Finding(
            "E", "masks hold labels that the record does not know", foreign,
            "Another release, or another kind of mask? Every value > 0 would count as lesion.",
        )  # fmt: skip
    for value, cases in sorted(tolerated.items()):
        yield Finding("W", told[value], cases, "It counts as lesion; see that the set is right.")
    if rounded:
        yield Finding("W", "labels are off whole numbers a little", rounded, "They are rounded.")
    if empty:
        yield Finding("W", "empty masks", empty, "They count as cases without a lesion.")
    counts = ", ".join(f"{value} in {count}" for value, count in sorted(values.items()))
    yield Finding("ok", f"{number} masks with labels {counts}")


def lesions(subject: Subject) -> Iterator[Finding]:
    """4: lesions of plausible volume, inside the brain."""
    volumes, sizes, outside, flipped = [], {}, {}, {}
    for case, found in subject.masked():
        volume, share = found.lesion_ml, found.lesion_outside_share
        said = [warning for warning in found.warnings if "flipped" in warning]
        if volume:
            volumes.append(volume)
            if not LESION_ML[0] <= volume <= LESION_ML[1]:
                sizes[case.case_id] = f"{volume:g} ml"
        if said:
            flipped[case.case_id] = "; ".join(said)
        elif share is not None and share > OUTSIDE_SHARE:
            mirrored = found.lesion_outside_mirrored
            words = f"{share:.0%} outside the brain"
            if mirrored is not None and mirrored <= share / 10:
                flipped[case.case_id] = f"{words}, {mirrored:.0%} after mirroring it"
            else:
                outside[case.case_id] = words
    if not volumes:
        yield Finding("–", "no lesion masks with a lesion")
        return
    if sizes:
        low, high = LESION_ML
        yield Finding(
            "W", f"lesion volume outside {low:g} to {high:g} ml", sizes, "Look at the mask."
        )
    if flipped:
        yield Finding(
            "W", "masks that fit the brain better when mirrored", flipped,
            "The mask is probably flipped: compare it with the image, and mend its header.",
        )  # fmt: skip
    if outside:
        yield Finding(
            "W", f"more than {OUTSIDE_SHARE:.0%} of the lesion lies outside the brain", outside,
            "Usual in meningioma; else the mask or the stripping is off. The scoring cuts it.",
        )  # fmt: skip
    yield Finding("ok", f"median {median(volumes):.1f} ml in {len(volumes)} cases")
