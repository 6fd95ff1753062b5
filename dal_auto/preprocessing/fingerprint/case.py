"""What is measured on one case: its images, its masks, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dal_auto.case import BoolArray, Grid, RawCase
from dal_auto.errors import DalError
from dal_auto.findings import Finding
from dal_auto.images import Volume, read_scan, read_volume
from dal_auto.preprocessing.atlas import Atlas, load_atlas, true_grid
from dal_auto.preprocessing.fingerprint.contrasts import common_correlation, contrast_findings
from dal_auto.preprocessing.fingerprint.image import (
    Coarse,
    ImageFingerprint,
    coarse,
    fingerprint_image,
    image_findings,
    largest_piece_ml,
)
from dal_auto.preprocessing.fingerprint.kinds import (
    APART,
    HEADER_IN_DOUBT,
    HEADER_WRONG,
    PARTLY_STRIPPED,
    SAME_VOXELS,
    UNREADABLE,
)
from dal_auto.preprocessing.fingerprint.lesion import grid_findings, measure_lesions
from dal_auto.preprocessing.fingerprint.orientation import (
    REGISTERED_DICE,
    Box,
    Orientation,
    in_the_atlas_box,
    is_left_handed,
    orient,
    true_header_of,
)
from dal_auto.preprocessing.mask_grid import match_mask
from dal_auto.preprocessing.reference import reference_of
from dal_auto.schema import Section
from dal_auto.volumes import dice

#: Stripped images of one grid overlap more than this, unless one of them is moved or cut.
_LEAST_OVERLAP = 0.8
#: What masks are called in findings.
_LESION, _BRAIN = "lesion mask", "brain mask"


class CaseFingerprint(Section):
    """One case: its images, its lesion mask, and whether they agree with each other.

    Parameters
    ----------
    one_grid : all images share shape and affine
    nonzero_overlap : Dice of the images' non-zero voxels where they share a grid (1 if one image)
    lesion_ml : volume of the lesion mask; None without one
    true_header : see `CaseSteps`; decided by content, where the header puts a stripped brain
        outside the atlas's
    brain_ml : volume of the largest piece of the non-zero voxels of the reference image, if it is
        stripped
    lesion_labels : distinct values in the mask above 0, to a thousandth, at most 16
    lesion_labels_integer : all of them are whole numbers, to a thousandth
    lesion_count, smallest_lesion_ml : 26-connected pieces
    lesion_grid_of : the image whose grid the mask shares; None if of none
    lesion_outside_share : share of the lesion voxels outside the brain of the stripped images on
        the mask's grid; None with skull
    lesion_outside_mirrored : the same after mirroring the mask left to right
    sequence_correlation : Pearson's, of T1 and T2 inside the common foreground; None if on two
        grids
    header_in_doubt : the header cannot be right, and the content does not tell what is
    findings : what is odd; of a case that cannot be read, that alone
    """

    case_id: str
    images: dict[str, ImageFingerprint]
    one_grid: bool = True
    nonzero_overlap: float = 1.0
    lesion_ml: float | None = None
    true_header: Literal["LPS", "RAS"] | None = None
    brain_ml: float | None = None
    lesion_labels: tuple[float, ...] = ()
    lesion_labels_integer: bool = True
    lesion_count: int | None = None
    smallest_lesion_ml: float | None = None
    lesion_grid_of: str | None = None
    lesion_outside_share: float | None = None
    lesion_outside_mirrored: float | None = None
    sequence_correlation: float | None = None
    header_in_doubt: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def failure(self) -> str | None:
        """Why the case cannot be used, if so."""
        return next((str(f) for f in self.findings if f.code == UNREADABLE.code), None)

    @property
    def stripped(self) -> bool:
        return all(image.stripped for image in self.images.values())

    @property
    def registered(self) -> bool:
        dices = [image.atlas_dice for image in self.images.values()]
        return all(dice is not None and dice >= REGISTERED_DICE for dice in dices)


class _Measured:
    """What is kept of one image until its case is judged: few figures, and one bit per voxel."""

    def __init__(self, name: str, volume: Volume, atlas: Atlas) -> None:
        self.figures = fingerprint_image(volume)
        self.grid = volume.grid
        self.nonzero: BoolArray = volume.array != 0
        self.coarse: Coarse = coarse(volume.array, volume.grid, stripped=self.figures.stripped)
        self.findings = image_findings(name, volume, self.figures)
        self.orientation: Orientation | None = None
        if self.figures.stripped and in_the_atlas_box(volume.grid):
            self.orientation = orient(volume.array, volume.grid, atlas)

    def on_the_atlas(self, true_header: Box | None) -> ImageFingerprint:
        """The figures, with the overlap with the atlas where the image truly lies."""
        if self.orientation is None:
            return self.figures
        fit = self.orientation.fit_as(true_header)
        return self.figures.model_copy(update={"atlas_dice": round(fit.dice, 4)})


def fingerprint_case(
    case: RawCase, atlas_file: Path | None = None, true_header: Box | None = None
) -> CaseFingerprint:
    """Measure one case, reading each file once; what cannot be read becomes its `failure`.

    Parameters
    ----------
    true_header : decided already, by other cases of the dataset; None to decide by content
    """
    atlas = load_atlas(atlas_file)
    try:
        images = {n: _Measured(n, read_scan(path), atlas) for n, path in case.sequences.items()}
        masks = {
            what: read_volume(path, constant=True)
            for what, path in ((_LESION, case.lesion_mask), (_BRAIN, case.brain_mask))
            if path is not None
        }
    except DalError as error:
        return unreadable(case.case_id, error)
    found = {name: image.orientation for name, image in images.items()}
    doubts = [
        HEADER_IN_DOUBT.found(f"{name}: {orientation.doubt}")
        for name, orientation in found.items()
        if orientation is not None and orientation.doubt
    ]
    told_by = "the content of the other cases"
    if true_header is None:
        told_by = "content"
        true_header, conflict = true_header_of(found)
        doubts += [HEADER_IN_DOUBT.found(conflict)] if conflict else []
    if true_header is not None and any(
        is_left_handed(image.grid) and true_grid(image.grid, true_header) is not image.grid
        for image in images.values()
    ):
        words = f"by {told_by} the header is wrong, but it has left and right the other way round"
        true_header, doubts = None, [HEADER_IN_DOUBT.found(f"{words}; nothing was turned")]
    if true_header is not None:
        headers = "; ".join(sorted({_described(image.grid) for image in images.values()}))
        words = (
            f"its header ({headers}) is wrong: by {told_by} its voxels fill the atlas's box, with "
            f"axes {true_header}"
        )
        doubts = [HEADER_WRONG.found(words)]
    grids = {name: true_grid(image.grid, true_header) for name, image in images.items()}
    figures, mask_findings = _masks(masks, images, grids, true_header)
    reference = reference_of(grids) if grids else None
    return CaseFingerprint(
        case_id=case.case_id,
        images={name: image.on_the_atlas(true_header) for name, image in images.items()},
        one_grid=len(_distinct(grids.values())) <= 1,
        nonzero_overlap=_overlap(images, grids),
        true_header=true_header,
        brain_ml=None if reference is None else _brain_ml(images[reference]),
        sequence_correlation=_correlation(images, grids),
        header_in_doubt=bool(doubts) and true_header is None,
        findings=(
            *(finding for image in images.values() for finding in image.findings),
            *doubts,
            *_disagreements(images, grids, upright=not doubts or true_header is not None),
            *mask_findings,
        ),
        **figures,
    )


def _described(grid: Grid) -> str:
    x, y, z = grid.affine[:3, 3]
    return f"axes {grid.axcodes}, first voxel at ({x:g}, {y:g}, {z:g}) mm"


def _masks(
    masks: Mapping[str, Volume],
    images: Mapping[str, _Measured],
    grids: Mapping[str, Grid],
    true_header: Box | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """The figures of the lesion mask, and what is odd about the masks of a case."""
    figures: dict[str, Any] = {}
    findings: list[Finding] = []
    shapes = {grid.shape for grid in grids.values()}
    for what, mask in masks.items():
        findings += [oddity.about(what) for oddity in mask.oddities]
        if not grids:
            continue
        grid = true_grid(mask.grid, true_header if mask.grid.shape in shapes else None)
        matched = match_mask(mask.array, grid, grids)
        if what == _BRAIN:
            findings += [finding.about(what) for finding in grid_findings(matched, grids)]
            continue
        owner = matched.sequence
        brain = None if owner is None else _brain(images, grids, grids[owner])
        measured = measure_lesions(matched, grids, brain)
        figures = {field.name: getattr(measured, field.name) for field in fields(measured)}
        findings += figures.pop("findings")
    return figures, findings


def unreadable(case_id: str, error: DalError) -> CaseFingerprint:
    """The fingerprint of a case that could not be measured."""
    return CaseFingerprint(case_id=case_id, images={}, findings=(UNREADABLE.found(str(error)),))


def _distinct(grids: Iterable[Grid]) -> list[Grid]:
    distinct: list[Grid] = []
    for grid in grids:
        if not any(grid.equals(other) for other in distinct):
            distinct.append(grid)
    return distinct


def _overlap(images: Mapping[str, _Measured], grids: Mapping[str, Grid]) -> float:
    """Least Dice of the non-zero voxels with those of the first image, where grids are the same."""
    first = next(iter(images), None)
    shared = [name for name in images if grids[name].equals(grids[first or name])]
    others = (dice(images[shared[0]].nonzero, images[name].nonzero) for name in shared[1:])
    return round(min(others, default=1), 4)


def _brain(
    images: Mapping[str, _Measured], grids: Mapping[str, Grid], grid: Grid
) -> BoolArray | None:
    """Non-zero voxels of the stripped images on a grid, None where there are none."""
    on_it = [
        image.nonzero
        for name, image in images.items()
        if image.figures.stripped and grids[name].equals(grid, 1e-2)
    ]
    return np.logical_or.reduce(on_it) if on_it else None


def _brain_ml(image: _Measured) -> float | None:
    return largest_piece_ml(image.nonzero, image.grid) if image.figures.stripped else None


def _correlation(images: Mapping[str, _Measured], grids: Mapping[str, Grid]) -> float | None:
    if not {"T1", "T2"} <= set(images) or not grids["T1"].equals(grids["T2"]):
        return None
    return common_correlation(images["T1"].coarse, images["T2"].coarse)


def _disagreements(
    images: Mapping[str, _Measured], grids: Mapping[str, Grid], *, upright: bool
) -> Iterator[Finding]:
    """What is odd about the images together."""
    stripped = {name: image.figures.stripped for name, image in images.items()}
    if len(set(stripped.values())) > 1:
        with_skull = ", ".join(name for name, value in stripped.items() if not value)
        yield PARTLY_STRIPPED.found(f"{with_skull} with skull, the others stripped")
    elif all(stripped.values()) and (overlap := _overlap(images, grids)) < _LEAST_OVERLAP:
        words = f"the brains of its images share a grid and overlap by {overlap:.2f} only"
        yield APART.found(words, value=overlap, limit=_LEAST_OVERLAP)
    hashes = [image.figures.voxels_sha256 for image in images.values()]
    if len(set(hashes)) < len(hashes):
        yield SAME_VOXELS.found("two of its sequences have the same voxels")
    elif upright:
        yield from contrast_findings({n: i.coarse for n, i in images.items()}, stripped)
