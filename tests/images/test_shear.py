"""The nearest lattice at right angles, against what a polar decomposition must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from dal_auto.case import Grid
from dal_auto.images.shear import at_right_angles, is_sheared, shear_degrees, shear_mm

TURN = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()


def grid(shear: float, shape: tuple[int, int, int] = (20, 30, 40)) -> Grid:
    """Turned, of 1 × 1.5 × 3 mm, y drifting by `shear` mm for every mm along z."""
    matrix = np.eye(3)
    matrix[1, 2] = shear
    affine = np.eye(4)
    affine[:3, :3] = TURN @ matrix @ np.diag([1, 1.5, 3])
    affine[:3, 3] = (5, -7, 9)
    return Grid(shape, affine)


@pytest.mark.parametrize("degrees", [0, 5, 30])
def test_the_angle_is_that_of_the_tilted_axis(degrees):
    sheared = grid(np.tan(np.radians(degrees)))
    assert shear_degrees(sheared.affine) == pytest.approx(degrees, abs=1e-6)


def test_the_rotation_is_the_polar_decomposition_s_and_the_centre_stays():
    sheared = grid(0.3)
    found = at_right_angles(sheared)
    rotation, _ = polar(sheared.affine[:3, :3] / sheared.spacing_mm)
    np.testing.assert_allclose(found.affine[:3, :3], rotation * sheared.spacing_mm, atol=1e-9)
    assert np.allclose(found.spacing_mm, sheared.spacing_mm)
    middle = [(np.array(one.shape) - 1) / 2 for one in (sheared, found)]
    before, after = (
        one.affine[:3, :3] @ m + one.affine[:3, 3]
        for one, m in zip((sheared, found), middle, strict=True)
    )
    assert np.linalg.norm(before - after) < max(found.spacing_mm)  # of whole voxels around it


def test_all_of_a_sheared_lattice_is_held():
    sheared = grid(0.3)
    found = at_right_angles(sheared)
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(sheared.shape) - 1)
        place = np.linalg.inv(found.affine) @ sheared.affine @ [*index, 1]
        assert (place[:3] > -1e-3).all() and (place[:3] < np.array(found.shape) - 1 + 1e-3).all()


def test_what_rounding_leaves_is_no_shear():
    exact, rounded = grid(0), grid(1e-3)
    assert at_right_angles(exact) is exact
    assert not is_sheared(rounded) and 0 < shear_mm(rounded) < 0.1
    assert at_right_angles(rounded).shape == rounded.shape
    assert is_sheared(grid(0.1))
