"""Home again: a blob put in native space, oblique and anisotropic, is found there afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dal_auto.case import Geometry, Grid
from dal_auto.inference.export import standard_grid, to_native
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.resampling import resample


def centre_of(grid: Grid) -> np.ndarray:
    """World position in mm of the middle of a grid."""
    return grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]


def centroid(volume: np.ndarray, grid: Grid) -> np.ndarray:
    """World position in mm of the centre of mass."""
    voxel = np.array([np.average(i, weights=volume) for i in np.indices(volume.shape)])
    return grid.affine[:3, :3] @ voxel + grid.affine[:3, 3]


def oblique_scan(to_atlas_mm: np.ndarray, target: np.ndarray) -> tuple[Grid, np.ndarray]:
    """A native grid, axes flipped and rotated, and the rigid atlas → native matrix, RAS mm."""
    rotation = Rotation.from_euler("xyz", [25, -15, 35], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.9, 1.2, 3.0])[:, [2, 0, 1]]  # slices first
    shape = (23, 61, 51)
    middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[:3, 3] = np.array([12.0, -7.0, 31.0]) - middle
    atlas_to_native = np.eye(4)
    atlas_to_native[:3, :3] = Rotation.from_euler("xyz", to_atlas_mm, degrees=True).as_matrix()
    atlas_to_native[:3, 3] = [12.0, -7.0, 31.0] - atlas_to_native[:3, :3] @ target
    return Grid(shape, affine), atlas_to_native


@pytest.mark.parametrize("angles", [(0, 0, 0), (8, -12, 20)])
@pytest.mark.parametrize("offset_mm", [(0, 0, 0), (9, -6, 11)])
def test_a_blob_in_native_space_comes_back_to_where_it_was(make_plans, angles, offset_mm):
    plans = make_plans(preprocessing__target_shape=[64, 64, 64])
    standard = standard_grid(plans)
    native, atlas_to_native = oblique_scan(np.array(angles), centre_of(standard))
    place = centre_of(native) + np.array(offset_mm)
    indices = np.moveaxis(np.indices(native.shape), 0, -1)
    world = indices @ native.affine[:3, :3].T + native.affine[:3, 3]
    blob = np.exp(-0.5 * ((world - place) ** 2).sum(axis=-1) / 4.0**2)

    there = resample(blob, native, standard, atlas_to_native)
    assert there.max() > 0.8, "the blob lies inside the standard grid"
    geometry = Geometry({"T1": native}, {"T1": atlas_to_native})
    back = to_native(there, geometry, "T1", plans)

    assert back.shape == native.shape
    assert back.dtype == np.float32
    moved_mm = centroid(np.where(back > 0.1, back, 0), native) - centroid(
        np.where(blob > 0.1, blob, 0), native
    )
    moved_voxels = np.linalg.inv(native.affine[:3, :3]) @ moved_mm
    assert np.abs(moved_voxels).max() < 0.5
    assert np.unravel_index(back.argmax(), back.shape) == np.unravel_index(
        blob.argmax(), blob.shape
    )
    np.testing.assert_allclose(back, blob, atol=0.2)


def test_each_sequence_goes_home_by_its_own_way(make_plans):
    plans = make_plans()
    standard = standard_grid(plans)
    shifted = np.eye(4)
    shifted[:3, 3] = [4, 0, 0]  # T2 was scanned 4 mm to the right, in RAS
    geometry = Geometry({"T1": standard, "T2": standard}, {"T1": np.eye(4), "T2": shifted})
    volume = np.zeros(standard.shape, np.float32)
    volume[20, 24, 24] = 1
    np.testing.assert_array_equal(to_native(volume, geometry, "T1", plans), volume)
    t2 = to_native(volume, geometry, "T2", plans)
    # x runs from right to left here: 4 mm more in RAS are 4 voxels less.
    assert np.unravel_index(t2.argmax(), t2.shape) == (16, 24, 24) and t2.max() == 1


def test_where_the_standard_grid_does_not_reach_is_0(make_plans):
    plans = make_plans()
    standard = standard_grid(plans)
    wide = Grid(
        tuple(size + 20 for size in standard.shape),
        standard.affine @ np.array([[1, 0, 0, -10], [0, 1, 0, -10], [0, 0, 1, -10], [0, 0, 0, 1]]),
    )
    ones = np.ones(standard.shape, np.float32)
    native = to_native(ones, Geometry({"T1": wide}, {"T1": np.eye(4)}), "T1", plans)
    expected = np.zeros(wide.shape, np.float32)
    expected[10:-10, 10:-10, 10:-10] = 1
    np.testing.assert_array_equal(native, expected)


def test_the_standard_grid_is_the_atlas_cropped_about_its_centre(make_plans):
    grid = standard_grid(make_plans(preprocessing__target_shape=[160, 224, 160]))
    assert (grid.shape, grid.axcodes, grid.spacing_mm) == ((160, 224, 160), "LPS", (1, 1, 1))
    np.testing.assert_allclose(centre_of(grid), centre_of(ATLAS_GRID), atol=0.5)
