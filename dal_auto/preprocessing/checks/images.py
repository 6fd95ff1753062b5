"""Checks of the images: readable, on one grid, stripped, clean background, right way round.

A check gets what the measurement found of its kinds, and adds what needs the dataset's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from dal_auto.datasets.record import Layout
from dal_auto.findings import Finding, Kind, fine
from dal_auto.preprocessing.checks.dataset import MeasuredDataset
from dal_auto.preprocessing.fingerprint.dataset import ImageFingerprint
from dal_auto.preprocessing.fingerprint.kinds import MASK_GRID

#: Inside a stripped brain fluid is dark on T1 and bright on T2: T1 and T2 of two glioma patients
#: correlate with -0.28 and -0.63, T1 and FLAIR with +0.3. With skull even scalp and air agree.
SAME_CONTRAST = {True: 0.2, False: 0.9}

TWO_GRIDS = Kind(
    "two-grids",
    "images that should share one grid do not",
    "A header or an image is wrong: get the case again, or leave it out (`excluded`).",
    level="error",
)
#: State and whether the record claims it → what is said where the measurement says the opposite.
NOT_AS_CLAIMED = {
    (state, claim): Kind(f"{'not-' if claim else ''}{state}", title, remedy)
    for state, remedy, titles in (
        (
            "stripped",
            "The record is followed: correct it, or is it another copy of the dataset?",
            {
                True: "cases are not stripped, the record says they are",
                False: "cases are stripped, the record says they are not",
            },
        ),
        (
            "registered",
            "The measurement is believed: what is not on the atlas is registered.",
            {
                True: "cases do not lie on the atlas, the record says they do",
                False: "cases lie on the atlas, the record says they do not",
            },
        ),
    )
    for claim, title in titles.items()
}
FILLED = Kind(
    "filled-background",
    "the background of stripped images is not 0",
    "The brain cannot be told from it: set the background to 0, or it is stripped again.",
)
ALIKE = Kind(
    "contrasts-alike",
    "T1 and T2 rise and fall together",
    "One of them may be FLAIR, contrast-enhanced, or a copy of the other: look at both.",
)


def files(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """1: every image is whole, 3-D, finite and not constant."""
    whole = len(dataset.fingerprint.cases) - len(measured)
    yield fine("readable", f"{whole} cases read to their end")


def grids(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """2: T1, T2 and mask share a grid where the record says so; the grid is the record's."""
    apart = [
        TWO_GRIDS.found(_images_words(found.images), case=case.case_id)
        for case, found in dataset.readable()
        if case.claims.coregistered and not found.one_grid
    ]
    yield from apart
    if dataset.layout is not None:
        yield from _unlike_the_record(dataset, dataset.layout)
    if not apart and not any(finding.code == MASK_GRID.code for finding in measured):
        number = sum(1 for _ in dataset.readable())
        yield fine("grids", f"images and masks of {number} cases fit together")


def _unlike_the_record(dataset: MeasuredDataset, layout: Layout) -> Iterator[Finding]:
    other = Kind(
        "other-grid",
        f"another grid than the record's {'×'.join(map(str, layout.shape or ()))}",
        "Another release, or converted images? They are measured and used all the same.",
    )
    coarsest = layout.coarsest_mm if layout.coarsest_mm is not None else float("inf")
    coarse = Kind(
        "coarse-voxels",
        f"voxels coarser than {coarsest:g} mm",
        "Such slices are smeared when resampled; leave the case out if that matters.",
    )
    for case, found in dataset.readable():
        unlike = {n: i for n, i in found.images.items() if _is_other_grid(i, layout)}
        thick = {n: i for n, i in found.images.items() if max(i.spacing_mm) > coarsest}
        if unlike:
            yield other.found(_images_words(unlike), case=case.case_id)
        if thick:
            thickest = max(max(image.spacing_mm) for image in thick.values())
            yield coarse.found(
                _images_words(thick), case=case.case_id, value=thickest, limit=coarsest
            )


def _is_other_grid(image: ImageFingerprint, layout: Layout) -> bool:
    """Shape or spacing unlike the record's, in any order of the axes."""
    shape, spacing = layout.shape, layout.spacing_mm
    return (shape is not None and sorted(image.shape) != sorted(shape)) or (
        spacing is not None
        and any(
            abs(a - b) > 1e-2
            for a, b in zip(sorted(image.spacing_mm), sorted(spacing), strict=True)
        )
    )


def _images_words(images: Mapping[str, ImageFingerprint]) -> str:
    """Such as "T1 and T2 240×240×155 at 1.00×1.00×1.00 mm"."""
    grids: dict[str, list[str]] = {}
    for name, image in images.items():
        shape = "×".join(map(str, image.shape))
        spacing = "×".join(f"{mm:.2f}" for mm in image.spacing_mm)
        grids.setdefault(f"{shape} at {spacing} mm", []).append(name)
    return ", ".join(f"{' and '.join(names)} {grid}" for grid, names in grids.items())


def stripping(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """5: stripped or not, as the record says; brains of plausible volume."""
    low, high = dataset.expected.brain_ml
    volume = Kind(
        "brain-volume",
        f"brain volume outside {low:g} to {high:g} ml",
        "Look at the case: stripping may have cut brain, or left skull.",
    )
    cases = list(dataset.readable())
    partly = {finding.case for finding in measured}
    for case, found in cases:
        claim = case.claims.stripped
        if case.case_id not in partly and claim not in (None, found.stripped):
            volumes = (f"{n} {i.nonzero_ml / 1000:.2f} l non-zero" for n, i in found.images.items())
            yield NOT_AS_CLAIMED["stripped", bool(claim)].found(
                ", ".join(volumes), case=case.case_id
            )
        if found.brain_ml is not None and not low <= found.brain_ml <= high:
            yield volume.found(
                f"{found.brain_ml:.0f} ml",
                case=case.case_id,
                value=found.brain_ml,
                limit=dataset.expected.brain_ml,
            )
    stripped = sum(found.stripped for _, found in cases)
    words = f"{stripped} of {len(cases)} cases are stripped, by volume, surface and content"
    yield fine("stripping", words)


def background(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """6: no negative values; of stripped images the background is exactly 0."""
    filled = []
    for case, found in dataset.readable():
        for name, image in found.images.items():
            field_ml = prod(image.shape) * prod(image.spacing_mm) / 1000
            if case.claims.stripped and image.nonzero_ml > 0.99 * field_ml:
                words = f"{name}: hardly any voxel is 0, minimum {image.minimum:g}"
                filled.append(FILLED.found(words, case=case.case_id, value=image.minimum, limit=0))
    yield from filled
    if not measured and not filled:
        yield fine("background", "no negative values")


def orientation(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """7: the header is right by content, and registered images lie on the atlas."""
    cases = list(dataset.readable())
    for case, found in cases:
        claim = case.claims.registered
        if found.true_header is None and claim not in (None, found.registered):
            dices = [
                f"{name} {'none' if image.atlas_dice is None else image.atlas_dice}"
                for name, image in found.images.items()
            ]
            words = f"overlap with the atlas's brain: {', '.join(dices)}"
            yield NOT_AS_CLAIMED["registered", bool(claim)].found(words, case=case.case_id)
    on_it = sum(found.registered for _, found in cases)
    yield fine(
        "orientation",
        f"{on_it} of {len(cases)} cases lie on the atlas; left-right mirror images cannot be told",
    )


def contrasts(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """8: T1 is a T1 and T2 a T2, by the middle of the brain and by their correlation."""
    suspected = {finding.case for finding in measured}
    alike = [
        ALIKE.found(f"correlation {value:+.2f}", case=case.case_id, value=value, limit=limit)
        for case, found in dataset.readable()
        if case.case_id not in suspected
        and (value := found.sequence_correlation) is not None
        and value > (limit := SAME_CONTRAST[found.stripped])
    ]
    yield from alike
    if not suspected and not alike:
        number = sum(1 for _ in dataset.readable())
        yield fine("contrasts", f"the contrasts of {number} cases are as their names say")
