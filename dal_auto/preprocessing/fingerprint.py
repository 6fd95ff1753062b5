"""What was found in a dataset, measured rather than believed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np

from dal_auto.atomic import write_json
from dal_auto.case import FloatArray, Grid, RawCase
from dal_auto.errors import DalError
from dal_auto.nifti import read_image, read_mask
from dal_auto.plans import Section
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas, load_atlas
from dal_auto.preprocessing.resampling import resample
from dal_auto.workers import Workforce, run_tasks

logger = logging.getLogger(__name__)

#: Non-zero volume of a stripped brain in ml (children to large adults in MNI scale). A head with
#: skull has 2.5 l and more, and air noise fills the whole field of view.
STRIPPED_ML = (600.0, 2300.0)
#: Overlap (Dice) with the atlas's brain above which a stripped brain in the SRI24 box counts as
#: registered. Our own registrations reach 0.91 to 0.95, but BraTS ships cases at 0.79: they are
#: taken as they come, as in the paper, and the quality page flags them.
_REGISTERED_DICE = 0.7


class ImageFingerprint(Section):
    """One image file.

    Parameters
    ----------
    shape, spacing_mm, axcodes : the grid; axis codes as nibabel's (where each axis goes)
    oblique_degrees : largest angle between a voxel axis and the nearest world axis
    minimum, maximum : intensities
    negative_voxels : how many voxels are below 0
    nonzero_ml : volume that is not exactly 0
    stripped : measured from `nonzero_ml`
    atlas_dice : overlap of the non-zero voxels with the atlas's brain; None if not on its grid
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axcodes: str
    oblique_degrees: float
    minimum: float
    maximum: float
    negative_voxels: int
    nonzero_ml: float
    stripped: bool
    atlas_dice: float | None


class CaseFingerprint(Section):
    """One case: its images, and whether they agree with each other.

    Parameters
    ----------
    one_grid : all images share shape and affine
    nonzero_overlap : Dice of the images' non-zero voxels where they share a grid (1 if one image)
    lesion_ml : volume of the lesion mask; None without one
    true_header : see `CaseSteps`; decided by content, where the header puts a stripped brain
        outside the atlas's
    finding : why the case cannot be used, if so
    """

    case_id: str
    images: dict[str, ImageFingerprint]
    one_grid: bool = True
    nonzero_overlap: float = 1.0
    lesion_ml: float | None = None
    true_header: Literal["LPS", "RAS"] | None = None
    finding: str | None = None

    @property
    def stripped(self) -> bool:
        return all(image.stripped for image in self.images.values())

    @property
    def registered(self) -> bool:
        dices = [image.atlas_dice for image in self.images.values()]
        return all(dice is not None and dice >= _REGISTERED_DICE for dice in dices)


class Fingerprint(Section):
    """A dataset: one record per case."""

    dataset: str
    cases: tuple[CaseFingerprint, ...]

    def case(self, case_id: str) -> CaseFingerprint:
        return next(case for case in self.cases if case.case_id == case_id)

    def summary(self) -> list[str]:
        """A few readable lines."""
        usable = [case for case in self.cases if case.finding is None]
        lines = [f"{self.dataset}: {len(self.cases)} cases, {len(usable)} readable"]
        for sequence in sorted({name for case in usable for name in case.images}):
            images = [case.images[sequence] for case in usable if sequence in case.images]
            grids = Counter(
                "×".join(map(str, image.shape))
                + " at "
                + "×".join(f"{mm:.2f}" for mm in image.spacing_mm)
                + f" mm {image.axcodes}"
                for image in images
            )
            common = "; ".join(f"{grid} ({count})" for grid, count in grids.most_common(3))
            lines.append(
                f"  {sequence}: {len(images)} images; {common}; stripped "
                f"{sum(image.stripped for image in images)}; on the atlas "
                f"{sum((i.atlas_dice or 0) >= _REGISTERED_DICE for i in images)}"
            )
        masks = [case.lesion_ml for case in usable if case.lesion_ml is not None]
        if masks:
            lines.append(f"  lesion masks: {len(masks)}, median {np.median(masks):.1f} ml")
        return lines

    def save(self, path: Path) -> None:
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def _oblique_degrees(grid: Grid) -> float:
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / max(int(first.sum()) + int(second.sum()), 1))


def fingerprint_image(array: FloatArray, grid: Grid, atlas: Atlas) -> ImageFingerprint:
    """Measure one image."""
    nonzero = array != 0
    nonzero_ml = float(nonzero.sum()) * grid.voxel_ml
    stripped = STRIPPED_ML[0] <= nonzero_ml <= STRIPPED_ML[1]
    atlas_dice = None
    if stripped and np.allclose(grid.spacing_mm, 1, atol=1e-3) and grid.shape == ATLAS_GRID.shape:
        moved = resample(nonzero.astype(np.float32), grid, ATLAS_GRID, np.eye(4)) > 0.5
        atlas_dice = round(_dice(moved, atlas.brain_mask), 4)
    x, y, z = (round(mm, 4) for mm in grid.spacing_mm)
    return ImageFingerprint(
        shape=grid.shape,
        spacing_mm=(x, y, z),
        axcodes=grid.axcodes,
        oblique_degrees=round(_oblique_degrees(grid), 2),
        minimum=float(array.min()),
        maximum=float(array.max()),
        negative_voxels=int((array < 0).sum()),
        nonzero_ml=round(nonzero_ml, 2),
        stripped=stripped,
        atlas_dice=atlas_dice,
    )


def fingerprint_case(case: RawCase, atlas_file: Path | None = None) -> CaseFingerprint:
    """Measure one case; what cannot be read becomes its `finding`."""
    atlas = load_atlas(atlas_file)
    images: dict[str, ImageFingerprint] = {}
    grids: list[Grid] = []
    overlap, reference = 1.0, None
    try:
        for sequence, path in case.sequences.items():
            array, grid = read_image(path)
            images[sequence] = fingerprint_image(array, grid, atlas)
            if reference is None:
                reference = array != 0
            elif grid.equals(grids[0]):
                overlap = min(overlap, _dice(reference, array != 0))
            grids.append(grid)
        lesion_ml = None
        if case.lesion_mask is not None:
            mask, grid = read_mask(case.lesion_mask)
            lesion_ml = round(float(mask.sum()) * grid.voxel_ml, 3)
    except DalError as error:
        return CaseFingerprint(case_id=case.case_id, images={}, finding=str(error))
    return CaseFingerprint(
        case_id=case.case_id,
        images=images,
        one_grid=all(grid.equals(grids[0]) for grid in grids),
        nonzero_overlap=round(overlap, 4),
        lesion_ml=lesion_ml,
    )


def fingerprint_dataset(
    name: str, cases: Sequence[RawCase], *, workforce: Workforce
) -> Fingerprint:
    """Measure every case of a dataset, in parallel; the order of the cases is kept."""
    found: dict[str, CaseFingerprint] = {}
    names = [case.case_id for case in cases]
    for case_id, outcome in run_tasks(
        fingerprint_case, cases, names, workforce=workforce, title=f"{name}: measure"
    ):
        if isinstance(outcome, DalError):
            outcome = CaseFingerprint(case_id=case_id, images={}, finding=str(outcome))
        found[case_id] = outcome
        if outcome.finding is not None:
            logger.error("%s: %s", case_id, outcome.finding)
    return Fingerprint(dataset=name, cases=tuple(found[case_id] for case_id in names))
