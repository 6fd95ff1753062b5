"""What is measured on a lesion mask: labels, lesions, and whether it fits the brain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, Grid
from dal_auto.findings import Finding
from dal_auto.preprocessing.fingerprint.kinds import (
    LESION_FLIPPED,
    LESION_OUTSIDE,
    LESION_VOLUME,
    MASK_EMPTY,
    MASK_FRACTIONS,
    MASK_GRID,
    MASK_NEGATIVE,
    MASK_ROUNDED,
    MASK_SHIFTED,
)
from dal_auto.preprocessing.mask_grid import SINGLE_PRECISION_MM, MatchedMask
from dal_auto.volumes import box_around, components

_MOST_LABELS = 16
#: A label this close to a whole number is one; up to the second it is one with a rounding error;
#: further, the mask is no label map.
_LABEL_TOLERANCE, _ROUNDING = 1e-3, 0.1
#: Lesions smaller or larger than this, in ml, are worth a look.
_LESION_ML = (0.01, 500.0)
#: Share of a lesion outside the brain that is said; and the least at which a mirrored mask, of
#: which a tenth of that is outside, is suspected. Published masks: 0.
_OUTSIDE_SHARE, _MIRRORED_SHARE = 0.05, 0.005
_AXIS_NAMES = {
    **dict.fromkeys("LR", "left to right"),
    **dict.fromkeys("PA", "front to back"),
    **dict.fromkeys("SI", "upside down"),
}


@dataclass(frozen=True)
class LesionFigures:
    """The lesion figures of a case, named as in `CaseFingerprint`, and what is odd."""

    lesion_ml: float
    lesion_labels: tuple[float, ...]
    lesion_labels_integer: bool
    lesion_count: int
    smallest_lesion_ml: float | None
    lesion_grid_of: str | None
    lesion_outside_share: float | None
    lesion_outside_mirrored: float | None
    findings: tuple[Finding, ...]


def measure_lesions(
    matched: MatchedMask[np.float32], grids: Mapping[str, Grid], brain: BoolArray | None
) -> LesionFigures:
    """Measure a lesion mask.

    Parameters
    ----------
    matched : the mask's values, above one half is lesion; and the image that it belongs to
    grids : sequence → where each image truly lies
    brain : (x, y, z) foreground of the stripped images on that image's grid; None where there are
        none
    """
    values, grid, owner = matched.array, matched.grid, matched.sequence
    mask = values > 0.5
    inside = values[mask]
    labels, integer = _labels(values[values != 0])
    box = box_around(mask)
    sizes = np.zeros(0, int) if box is None else components(mask[box])[1]
    count = len(sizes)
    lesion_ml = round(inside.size * grid.voxel_ml, 4)
    findings = list(grid_findings(matched, grids))
    if not count:
        findings.append(MASK_EMPTY.found("it is empty", value=0))
    elif not _LESION_ML[0] <= lesion_ml <= _LESION_ML[1]:
        words = f"{lesion_ml:g} ml in all"
        findings.append(LESION_VOLUME.found(words, value=lesion_ml, limit=_LESION_ML))
    if not integer:
        findings.append(_fractions(labels))
    if (below := int((values < 0).sum())) > 0:
        words = f"{below} voxels are below 0, down to {values.min():g}"
        findings.append(MASK_NEGATIVE.found(words, value=float(values.min())))
    outside = mirrored = None
    if count and brain is not None and owner is not None:
        outside, by_axis = _outside_shares(mask, brain, grid)
        mirrored = by_axis["left to right"]
        findings += _misplaced(outside, by_axis)
    return LesionFigures(
        lesion_ml=lesion_ml,
        lesion_labels=labels,
        lesion_labels_integer=integer,
        lesion_count=count,
        smallest_lesion_ml=round(float(sizes.min()) * grid.voxel_ml, 4) if count else None,
        lesion_grid_of=owner,
        lesion_outside_share=outside,
        lesion_outside_mirrored=mirrored,
        findings=tuple(finding.about("lesion mask") for finding in findings),
    )


def grid_findings(matched: MatchedMask[Any], grids: Mapping[str, Grid]) -> Iterator[Finding]:
    """Whether a mask lies on the grid of an image, and how far its header is off."""
    if matched.sequence is None:
        yield MASK_GRID.found(f"its {matched.difference(grids)}")
        return
    apart = matched.apart_mm[matched.sequence]
    if apart > SINGLE_PRECISION_MM:
        words = (
            f"its header puts voxels up to {apart:.2g} mm from {matched.sequence}'s; they are "
            "taken to be the same"
        )
        yield MASK_SHIFTED.found(words, value=apart)


def _labels(values: np.ndarray) -> tuple[tuple[float, ...], bool]:
    """Distinct values above 0, and whether all are whole numbers, both up to a thousandth."""
    distinct = np.unique(np.round(np.unique(values), 3))
    integer = bool((np.abs(distinct - np.round(distinct)) <= _LABEL_TOLERANCE).all())
    return tuple(round(float(v), 3) for v in distinct[distinct > 0][:_MOST_LABELS]), integer


def _fractions(labels: tuple[float, ...]) -> Finding:
    """Of labels that are no whole numbers: rounding errors, or no label map at all."""
    farthest = max((abs(label - round(label)) for label in labels), default=1.0)
    kind = MASK_ROUNDED if farthest <= _ROUNDING else MASK_FRACTIONS
    shown = ", ".join(f"{label:g}" for label in labels[:4])
    words = f"its labels are no whole numbers ({shown}, …); above 0.5 is lesion"
    return kind.found(words, value=farthest, limit=_ROUNDING)


def _outside_shares(
    mask: BoolArray, brain: BoolArray, grid: Grid
) -> tuple[float, dict[str, float]]:
    """Share of the lesion outside the brain, as it is and mirrored along each axis of the file.

    Masks are mirrored by tools that mistake the order of voxels, so about the middle of the file.
    A mask that stays inside the brain when mirrored cannot be told from one that is right.
    """
    voxels = np.argwhere(mask)
    # Necroses of value 0 are inside: filled, once anything seems to be outside.
    filled: BoolArray | None = None

    def share(places: np.ndarray) -> float:
        nonlocal filled
        if brain[tuple(places.T)].all():
            return 0.0
        if filled is None:
            filled = brain.copy()
            if (box := box_around(brain)) is not None:
                filled[box] = ndimage.binary_fill_holes(brain[box])
        return round(1 - float(filled[tuple(places.T)].mean()), 4)

    by_axis = {}
    for axis, code in enumerate(grid.axcodes):
        mirrored = voxels.copy()
        mirrored[:, axis] = mask.shape[axis] - 1 - mirrored[:, axis]
        by_axis[_AXIS_NAMES[code]] = share(mirrored)
    return share(voxels), by_axis


def _misplaced(outside: float, mirrored: Mapping[str, float]) -> list[Finding]:
    names = ("left to right", "front to back", "upside down")  # of equals, the likelier
    best = min(names, key=mirrored.__getitem__)
    if outside >= _MIRRORED_SHARE and mirrored[best] <= outside / 10:
        words = (
            f"{outside:.1%} of it lie outside the brain, mirrored {best} {mirrored[best]:.1%}: "
            "is it flipped?"
        )
        return [LESION_FLIPPED.found(words, value=outside, limit=mirrored[best])]
    if outside > _OUTSIDE_SHARE:
        words = f"{outside:.0%} of it lie outside the brain"
        return [LESION_OUTSIDE.found(words, value=outside, limit=_OUTSIDE_SHARE)]
    return []
