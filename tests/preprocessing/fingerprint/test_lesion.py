"""Lesion masks: labels, pieces, and whether they lie in the brain or were flipped."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import measure

from dal_auto.case import Grid
from dal_auto.preprocessing.fingerprint.lesion import LesionFigures, measure_lesions
from dal_auto.preprocessing.mask_grid import match_mask

GRID = Grid((40, 50, 30), np.diag([-2.0, -2, 2, 1]))
#: A brain that is nearer to one side of its image than to the other, along every axis.
BRAIN = np.zeros(GRID.shape, bool)
BRAIN[3:30, 5:40, 2:22] = True


def measured(
    mask: np.ndarray, grid: Grid = GRID, brain: np.ndarray | None = BRAIN
) -> LesionFigures:
    return figures_of(mask, grid, GRID, brain)


def figures_of(
    mask: np.ndarray, grid: Grid, image: Grid, brain: np.ndarray | None
) -> LesionFigures:
    grids = {"T1": image}
    return measure_lesions(match_mask(mask.astype(np.float32), grid, grids), grids, brain)


def codes(found: LesionFigures) -> set[str]:
    return {finding.code for finding in found.findings}


def block(*place: slice) -> np.ndarray:
    mask = np.zeros(GRID.shape, np.float32)
    mask[place] = 1
    return mask


INSIDE = block(slice(5, 10), slice(8, 14), slice(4, 9))


def test_pieces_are_those_of_skimage():
    mask = np.random.default_rng(2).random(GRID.shape) > 0.97
    mask[5, 5, 5] = mask[6, 6, 6] = True  # joined by a corner
    found = measured(mask)
    labels = measure.label(mask, connectivity=3)
    assert found.lesion_count == labels.max()
    assert found.smallest_lesion_ml == pytest.approx(np.bincount(labels.ravel())[1:].min() * 8e-3)
    assert found.lesion_ml == pytest.approx(mask.sum() * 8e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "labels", "integer"),
    [((1, 2, 4), (1, 2, 4), True), ((0.9999, 2.0004), (1, 2), True), ((0.999,), (0.999,), True),
     ((0.3, 0.75), (0.3, 0.75), False), ((-1, 1), (1,), True)],
)  # fmt: skip
def test_labels_are_listed_and_fractions_noticed(values, labels, integer):
    mask = np.zeros(GRID.shape)
    for place, value in enumerate(values):
        mask[6, 10 + place, 6] = value
    found = measured(mask)
    assert found.lesion_labels == labels
    assert found.lesion_labels_integer is integer
    assert bool({"mask-fractions", "mask-rounded"} & codes(found)) is not integer


def test_rounding_errors_are_told_from_fractions():
    mask = np.zeros(GRID.shape)
    mask[6, 10, 6], mask[6, 11, 6] = 0.98, 3.96
    (finding,) = measured(mask).findings
    assert (finding.code, finding.level) == ("mask-rounded", "warning")
    assert finding.value == pytest.approx(0.04)
    mask[6, 12, 6] = 0.75
    (finding,) = measured(mask).findings
    assert (finding.code, finding.level, finding.value) == ("mask-fractions", "error", 0.25)


def test_a_mask_of_0999_is_a_lesion_like_any_other():
    assert measured(0.999 * INSIDE).lesion_ml == measured(INSIDE).lesion_ml > 0


def test_of_many_labels_some_are_kept():
    mask = np.zeros(GRID.shape)
    mask[6, 10:40, 6] = np.arange(1, 31)
    assert measured(mask).lesion_labels == tuple(range(1, 17))


def test_an_empty_mask_is_said_and_has_no_smallest_lesion():
    found = measured(np.zeros(GRID.shape))
    assert (found.lesion_ml, found.lesion_count, found.smallest_lesion_ml) == (0, 0, None)
    assert found.lesion_outside_share is None
    assert [str(finding) for finding in found.findings] == ["lesion mask: it is empty"]


def test_a_mask_on_a_grid_of_its_own_is_said():
    shifted = Grid(GRID.shape, GRID.affine + np.outer([1, 0, 0, 0], [0, 0, 0, 1]))
    found = measured(INSIDE, shifted)
    assert found.lesion_grid_of is None and found.lesion_outside_share is None
    (finding,) = found.findings
    assert finding.code == "mask-grid" and finding.level == "error"
    assert "T1 (40, 50, 30) LPS, up to 1 mm apart" in finding.words
    near = Grid(GRID.shape, GRID.affine + 0.005 * np.outer([1, 0, 0, 0], [0, 0, 0, 1]))
    assert measured(INSIDE, near).lesion_grid_of == "T1"


def test_a_mask_with_turned_axes_is_measured_in_its_image_s_axes():
    """As fMRIPrep writes masks: in RAS, of a scan in LAS here."""
    upright = Grid(GRID.shape, np.diag([2.0, -2, 2, 1]))
    upright.affine[0, 3] = -2.0 * (GRID.shape[0] - 1)
    assert (upright.axcodes, GRID.axcodes) == ("RPS", "LPS")
    assert measured(np.flip(INSIDE, 0), upright) == measured(INSIDE)


def test_a_rounded_origin_is_the_same_grid_and_said_in_mm():
    rounded = Grid(GRID.shape, GRID.affine + 0.05 * np.outer([1, 0, 0, 0], [0, 0, 0, 1]))
    found = measured(INSIDE, rounded)
    assert found.lesion_grid_of == "T1" and found.lesion_outside_share == 0
    (finding,) = found.findings
    assert (finding.code, finding.level) == ("mask-shifted", "warning")
    assert finding.value == pytest.approx(0.05) and "0.05 mm from T1" in finding.words


def test_values_below_zero_are_no_lesion_and_are_said():
    mask = np.where(BRAIN, INSIDE, -1)
    found = measured(mask)
    assert found.lesion_ml == measured(INSIDE).lesion_ml and found.lesion_labels == (1,)
    (finding,) = found.findings
    assert finding.code == "mask-negative" and f"{(mask < 0).sum()} voxels" in finding.words


def test_a_lesion_in_the_brain_raises_nothing():
    found = measured(INSIDE)
    assert found.lesion_outside_share == 0 and found.findings == ()
    assert found.lesion_outside_mirrored == 1  # its mirror image lies in the wide margin


def test_with_skull_nothing_is_said_about_the_brain():
    found = measured(np.flip(INSIDE, 0), brain=None)
    assert found.lesion_outside_share is None and found.findings == ()


@pytest.mark.parametrize(
    ("axis", "words"), [(0, "left to right"), (1, "front to back"), (2, "upside down")]
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_flipped_mask_is_suspected_along_any_axis_of_the_file(axis, words, order):
    mask = np.flip(INSIDE, axis).transpose(order)
    shape = tuple(np.array(GRID.shape)[list(order)])
    grid = Grid(shape, GRID.affine[:, [*order, 3]])
    found = figures_of(mask, grid, grid, BRAIN.transpose(order))
    assert found.lesion_outside_share > 0.3
    (finding,) = found.findings
    assert finding.code == "lesion-flipped" and words in finding.words
    assert finding.value == found.lesion_outside_share
    assert (found.lesion_outside_mirrored == 0) == (axis == 0)


def test_a_lesion_outside_that_no_flip_brings_home_is_said():
    mask = block(slice(20, 36), slice(8, 42), slice(4, 28))
    (finding,) = measured(mask).findings
    assert finding.code == "lesion-outside" and "lie outside the brain" in finding.words


def test_necrosis_of_value_zero_is_inside_the_brain():
    hollow = BRAIN.copy()
    hollow[6:9, 9:13, 5:8] = False
    assert measured(INSIDE, brain=hollow).lesion_outside_share == 0


@pytest.mark.parametrize("size", [(40, 50, 30), (1, 1, 1)])
def test_implausible_volumes_are_said(size):
    grid = Grid(GRID.shape, np.diag([-5.0, -5, 5, 1]) if size[0] > 1 else np.diag([1, 1, 1, 1.0]))
    mask = block(*(slice(n) for n in size))
    found = figures_of(mask, grid, grid, None)
    assert "lesion-volume" in codes(found)
