"""Checks of the images: readable, on one grid, stripped, clean background, right way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod

from dal_auto.datasets.record import Layout
from dal_auto.preprocessing.checks.subject import Finding, Subject
from dal_auto.preprocessing.fingerprint.dataset import ImageFingerprint

#: Two forms of a header that place a corner this far apart, in mm, cannot both be right.
FORMS_MM = 0.5
#: Inside a stripped brain fluid is dark on T1 and bright on T2: T1 and T2 of two glioma patients
#: correlate with -0.28 and -0.63, T1 and FLAIR with +0.3. With skull even scalp and air agree.
SAME_CONTRAST = {True: 0.2, False: 0.9}
#: What the fingerprint says of contrasts.
SUSPICION = re.compile(r"swapped|looks like|contrast-enhanced")


def files(subject: Subject) -> Iterator[Finding]:
    """1: every image is whole, 3-D, finite and not constant."""
    broken = {c.case_id: c.finding for c in subject.fingerprint.cases if c.finding is not None}
    if broken:
        yield Finding(
            "E",
            f"{len(broken)} cases cannot be read",
            broken,
            "Download or convert these files again; they are not preprocessed.",
        )
    yield Finding("ok", f"{len(subject.fingerprint.cases) - len(broken)} cases read to their end")


def grids(subject: Subject) -> Iterator[Finding]:
    """2: T1, T2 and mask share a grid where the record says so; the grid is the record's."""
    apart: dict[str, str] = {}
    maskless: dict[str, str] = {}
    forms: dict[str, str] = {}
    for case, found in subject.readable():
        shown = _images_words(found.images)
        if case.claims.coregistered and not found.one_grid:
            apart[case.case_id] = shown
        if case.lesion_mask is not None and found.lesion_grid_of is None:
            maskless[case.case_id] = shown
        conflicts = [
            f"{name} {image.forms_conflict_mm:.1f} mm"
            for name, image in found.images.items()
            if (image.forms_conflict_mm or 0) > FORMS_MM
        ]
        if conflicts:
            forms[case.case_id] = ", ".join(conflicts)
    if apart:
        yield Finding(
            "E", "images that should share one grid do not", apart,
            "A header or an image is wrong: get the case again, or leave it out (`excluded`).",
        )  # fmt: skip
    if maskless:
        yield Finding(
            "E", "the lesion mask lies on the grid of none of the images", maskless,
            "Use the images that the mask was drawn on (of MSLUB: coregistered/, not raw/).",
        )  # fmt: skip
    if forms:
        yield Finding(
            "W", "sform and qform of the header place the image differently", forms,
            "The sform is believed, as in nibabel; tools that believe the qform will disagree.",
        )  # fmt: skip
    yield from _unlike_the_record(subject)
    if not apart and not maskless:
        number = sum(1 for _ in subject.readable())
        yield Finding("ok", f"images and masks of {number} cases fit together")


def _unlike_the_record(subject: Subject) -> Iterator[Finding]:
    layout = subject.layout
    if layout is None:
        return
    other: dict[str, str] = {}
    coarse: dict[str, str] = {}
    coarsest = layout.coarsest_mm if layout.coarsest_mm is not None else float("inf")
    for case, found in subject.readable():
        unlike = {n: i for n, i in found.images.items() if _is_other_grid(i, layout)}
        thick = {n: i for n, i in found.images.items() if max(i.spacing_mm) > coarsest}
        for cases, images in ((other, unlike), (coarse, thick)):
            if images:
                cases[case.case_id] = _images_words(images)
    if other:
        shape = "×".join(map(str, layout.shape or ()))
        yield Finding(
            "W", f"another grid than the record's {shape}", other,
            "Another release, or converted images? They are measured and used all the same.",
        )  # fmt: skip
    if coarse:
        yield Finding(
            "W", f"voxels coarser than {layout.coarsest_mm:g} mm", coarse,
            "Such slices are smeared when resampled; leave the case out if that matters.",
        )  # fmt: skip


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
    """Such as ``T1 240×240×155 at 1.00×1.00×1.00 mm``, of equal grids once."""
    grids: dict[str, list[str]] = {}
    for name, image in images.items():
        shape = "×".join(map(str, image.shape))
        spacing = "×".join(f"{mm:.2f}" for mm in image.spacing_mm)
        grids.setdefault(f"{shape} at {spacing} mm", []).append(name)
    return ", ".join(f"{' and '.join(names)} {grid}" for grid, names in grids.items())


def stripping(subject: Subject) -> Iterator[Finding]:
    """5: stripped or not, as the record says; brains of plausible volume."""
    claimed: dict[str, str] = {}
    mixed: dict[str, str] = {}
    volumes: dict[str, str] = {}
    low, high = subject.expected.brain_ml
    stripped = total = 0
    for case, found in subject.readable():
        states = {name: image.stripped for name, image in found.images.items()}
        words = ", ".join(
            f"{name} {image.nonzero_ml / 1000:.2f} l non-zero"
            for name, image in found.images.items()
        )
        total += 1
        stripped += found.stripped
        if len(set(states.values())) > 1:
            mixed[case.case_id] = words
        elif case.claims.stripped not in (None, found.stripped):
            claimed[case.case_id] = words
        if found.brain_ml is not None and not low <= found.brain_ml <= high:
            volumes[case.case_id] = f"{found.brain_ml:.0f} ml"
    if mixed:
        yield Finding(
            "W", "one image of the case is stripped, another is not", mixed,
            "Use images of one kind; as they are, the case is stripped again.",
        )  # fmt: skip
    if claimed:
        is_not = "are not stripped, the record says they are"
        is_so = "are stripped, the record says they are not"
        claim = next(c.claims.stripped for c in subject.dataset.cases if c.case_id in claimed)
        yield Finding(
            "W", f"{len(claimed)} cases {is_not if claim else is_so}", claimed,
            "The measurement is believed. Is it another copy of the dataset?",
        )  # fmt: skip
    if volumes:
        yield Finding(
            "W", f"brain volume outside {low:g} to {high:g} ml", volumes,
            "Look at the case: stripping may have cut brain, or left skull.",
        )  # fmt: skip
    yield Finding("ok", f"{stripped} of {total} cases are stripped, by their non-zero volume")


def background(subject: Subject) -> Iterator[Finding]:
    """6: no negative values; of stripped images the background is exactly 0."""
    negative: dict[str, str] = {}
    filled: dict[str, str] = {}
    for case, found in subject.readable():
        words = [
            f"{name} {image.negative_voxels} voxels, down to {image.minimum:g}"
            for name, image in found.images.items()
            if image.negative_voxels
        ]
        if words:
            negative[case.case_id] = ", ".join(words)
        for name, image in found.images.items():
            field_ml = prod(image.shape) * prod(image.spacing_mm) / 1000
            if case.claims.stripped and image.nonzero_ml > 0.99 * field_ml:
                filled[case.case_id] = f"{name}: hardly any voxel is 0, minimum {image.minimum:g}"
    if filled:
        yield Finding(
            "W", "the background of stripped images is not 0", filled,
            "The brain cannot be told from it: set the background to 0, or it is stripped again.",
        )  # fmt: skip
    if negative:
        yield Finding(
            "W", "negative values, as interpolation leaves them", negative,
            "They are set to 0 after the brain mask is made; nothing to do.",
        )  # fmt: skip
    if not negative and not filled:
        yield Finding("ok", "no negative values")


def orientation(subject: Subject) -> Iterator[Finding]:
    """7: the header is right by content, and registered images lie on the atlas."""
    headers: dict[str, str] = {}
    claimed: dict[str, str] = {}
    registered = total = 0
    for case, found in subject.readable():
        total += 1
        registered += found.registered
        if found.true_header is not None:
            codes = ", ".join(f"{name} {image.axcodes}" for name, image in found.images.items())
            headers[case.case_id] = f"{codes}; by content {found.true_header}"
        elif case.claims.registered not in (None, found.registered):
            dices = [
                f"{name} {'none' if image.atlas_dice is None else image.atlas_dice}"
                for name, image in found.images.items()
            ]
            claimed[case.case_id] = f"overlap with the atlas's brain: {', '.join(dices)}"
    if headers:
        yield Finding(
            "W", "the header says another orientation than the content", headers,
            "They are read as the content says; maps come back with the header's error.",
        )  # fmt: skip
    if claimed:
        claim = next(c.claims.registered for c in subject.dataset.cases if c.case_id in claimed)
        say = "do not lie on the atlas, the record says they do" if claim else (
            "lie on the atlas, the record says they do not"
        )  # fmt: skip
        yield Finding(
            "W", f"{len(claimed)} cases {say}", claimed,
            "The measurement is believed: what is not on the atlas is registered.",
        )  # fmt: skip
    yield Finding(
        "ok",
        f"{registered} of {total} cases lie on the atlas; left-right mirror images cannot be told",
    )


def contrasts(subject: Subject) -> Iterator[Finding]:
    """8: T1 is a T1 and T2 a T2, by the middle of the brain and by their correlation."""
    suspected: dict[str, str] = {}
    alike: dict[str, str] = {}
    measured = 0
    for case, found in subject.readable():
        measured += 1
        words = [warning for warning in found.warnings if SUSPICION.search(warning)]
        value = found.sequence_correlation
        if words:
            suspected[case.case_id] = "; ".join(words)
        elif value is not None and value > SAME_CONTRAST[found.stripped]:
            alike[case.case_id] = f"correlation {value:+.2f}"
    if suspected:
        yield Finding(
            "W", "an image seems to be of another contrast than its name says", suspected,
            "Look at T1 and T2: are they swapped, is one a FLAIR, or was a contrast agent given?",
        )  # fmt: skip
    if alike:
        yield Finding(
            "W", "T1 and T2 rise and fall together", alike,
            "One of them may be FLAIR, contrast-enhanced, or a copy of the other: look at both.",
        )  # fmt: skip
    if not suspected and not alike:
        yield Finding("ok", f"the contrasts of {measured} cases are as their names say")
