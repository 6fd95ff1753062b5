"""Centre crop or pad: the box changes, the world does not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.case import Grid
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.resampling import resample

shapes = st.tuples(*[st.integers(1, 300)] * 3)


def voxel_of(grid: Grid, point_mm: np.ndarray) -> np.ndarray:
    return (np.linalg.inv(grid.affine) @ [*point_mm, 1])[:3]


def test_the_atlas_box_becomes_the_papers():
    target = centre_crop_or_pad(ATLAS_GRID, (160, 224, 160))
    assert target.shape == (160, 224, 160)
    assert target.axcodes == ATLAS_GRID.axcodes == "LPS"
    for voxel in ((40, 8, 0), (199, 231, 154), (120, 120, 77)):
        point = ATLAS_GRID.affine @ [*voxel, 1]
        np.testing.assert_allclose(voxel_of(target, point[:3]), np.subtract(voxel, (40, 8, -2)))


def test_voxels_follow_their_world_coordinates():
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[40, 8, 0], image[199, 231, 154], image[39, 100, 100] = 1, 2, 3
    target = centre_crop_or_pad(ATLAS_GRID, (160, 224, 160))
    cropped = resample(image, ATLAS_GRID, target, np.eye(4))
    assert cropped[0, 0, 2] == 1
    assert cropped[159, 223, 156] == 2
    assert cropped.sum() == 3  # the third lay outside


@settings(deadline=None)
@given(shapes, shapes)
def test_the_centre_stays_within_half_a_voxel_and_directions_exactly(shape, wanted):
    affine = np.array([[0, -2.0, 0.1, 7], [1.5, 0, 0, -8], [0, 0.2, 3, 9], [0, 0, 0, 1]])
    target = centre_crop_or_pad(Grid(shape, affine), wanted)
    assert target.shape == wanted
    np.testing.assert_array_equal(target.affine[:3, :3], affine[:3, :3])
    middle = affine @ [*(np.array(shape) - 1) / 2, 1]
    offset = voxel_of(target, middle[:3]) - (np.array(wanted) - 1) / 2
    assert np.abs(offset).max() <= 0.5 + 1e-9


@settings(deadline=None)
@given(shapes)
def test_the_same_shape_is_the_same_grid(shape):
    grid = Grid(shape, np.diag([1.0, 2, 3, 1]))
    assert centre_crop_or_pad(grid, shape).equals(grid, tolerance_mm=0)


def test_the_grid_that_is_given_is_not_changed():
    affine = np.eye(4)
    centre_crop_or_pad(Grid((10, 10, 10), affine), (4, 4, 4))
    np.testing.assert_array_equal(affine, np.eye(4))
