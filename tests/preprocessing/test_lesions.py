"""What resampling does to lesions is reported: in total, and of the smallest by themselves."""

from __future__ import annotations

import numpy as np

from dal_auto.case import Grid
from dal_auto.preprocessing.lesions import move_lesion_mask, small_lesions

GRID = Grid((40, 40, 40), np.diag([1.0, 1, 1, 1]))


def cube(size: int, *corner: int) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(c, c + size) for c in corner)] = True
    return mask


LARGE = cube(10, 5, 5, 5)  # 1 ml
SMALL = cube(3, 25, 25, 25) | cube(1, 30, 8, 8)  # 0.027 and 0.001 ml
BRAIN = np.ones(GRID.shape, bool)


def test_small_is_a_volume_not_a_number_of_voxels():
    np.testing.assert_array_equal(small_lesions(LARGE | SMALL, GRID), SMALL)
    fine = Grid(GRID.shape, np.diag([0.4, 0.4, 0.4, 1]))  # 1000 voxels are 0.064 ml
    np.testing.assert_array_equal(small_lesions(LARGE | SMALL, fine), LARGE | SMALL)
    coarse = Grid(GRID.shape, np.diag([5.0, 5, 5, 1]))
    assert not small_lesions(LARGE | SMALL, coarse).any()


def test_on_the_same_grid_nothing_changes():
    moved, figures = move_lesion_mask(LARGE | SMALL, GRID, GRID, np.eye(4), BRAIN)
    np.testing.assert_array_equal(moved, LARGE | SMALL)
    assert figures == {
        "lesion_ml_native": 1.028,
        "lesion_ml": 1.028,
        "lesions_native": 3,
        "lesions": 3,
        "small_lesion_ml_native": 0.028,
        "small_lesion_ml": 0.028,
        "small_lesions_native": 2,
        "small_lesions": 2,
        "lesion_outside_brain_share": 0,
    }


def test_a_lesion_that_resampling_loses_is_counted():
    # Between the lattice points of a grid of 2 mm the single voxel is not seen.
    coarse = Grid((20, 20, 20), np.diag([2.0, 2, 2, 1]))
    coarse.affine[:3, 3] = 1
    brain = np.ones(coarse.shape, bool)
    moved, figures = move_lesion_mask(LARGE | SMALL, GRID, coarse, np.eye(4), brain)
    assert (figures["lesions_native"], figures["lesions"]) == (3, 2)
    assert (figures["small_lesions_native"], figures["small_lesions"]) == (2, 1)
    # Of the cube of 3³ the coarse grid sees 25 and 27 along each axis: 8 voxels of 8 mm³.
    assert figures["small_lesion_ml"] == 0.064
    assert figures["lesion_ml"] == moved.sum() * 8 / 1000


def test_volumes_are_in_millilitres_on_either_grid():
    fine = Grid((80, 80, 80), np.diag([0.5, 0.5, 0.5, 1]))
    fine.affine[:3, 3] = -0.25  # eight voxels for one
    _, figures = move_lesion_mask(LARGE, GRID, fine, np.eye(4), np.ones(fine.shape, bool))
    assert figures["lesion_ml_native"] == 1
    assert figures["lesion_ml"] == 1


def test_what_lies_outside_the_brain_is_told():
    _, figures = move_lesion_mask(LARGE, GRID, GRID, np.eye(4), ~cube(5, 5, 5, 5))
    assert figures["lesion_outside_brain_share"] == 0.125


def test_no_lesion_is_no_division_by_zero():
    moved, figures = move_lesion_mask(LARGE & SMALL, GRID, GRID, np.eye(4), BRAIN)
    assert not moved.any()
    assert set(figures.values()) == {0}
