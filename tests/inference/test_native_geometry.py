"""Any scan's way home: every order and direction of axes, any angle, any voxel size.

The reference is scipy's interpolation at positions computed here, voxel by voxel.
"""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dal_auto.case import Geometry, Grid
from dal_auto.inference.export import standard_grid, to_native
from dal_auto.preprocessing.resampling import resample

SIZE = 48
ORIENTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
quiet = settings(
    max_examples=48,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def rotation(largest_degrees: float) -> st.SearchStrategy[np.ndarray]:
    angles = st.tuples(*[st.floats(-largest_degrees, largest_degrees)] * 3)
    return angles.map(
        lambda a: Rotation.from_euler("xyz", np.round(a, 2), degrees=True).as_matrix()
    )


def shifts(largest_mm: float) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(*[st.floats(-largest_mm, largest_mm)] * 3).map(lambda s: np.round(s, 2))


#: Slices of up to 3.5 mm along any axis of the file.
spacings = st.tuples(*[st.sampled_from([0.8, 1.0, 1.3, 2.0, 3.5])] * 3)


@st.composite
def scans(draw: st.DrawFn, centre_mm: np.ndarray) -> tuple[Grid, np.ndarray]:
    """A native grid somewhere in the scanner's world, and the rigid atlas → native matrix."""
    spacing = np.array(draw(spacings))
    directions = draw(rotation(25)) @ draw(st.sampled_from(ORIENTATIONS)) * spacing
    middle = draw(shifts(80))  # of the scan, in the scanner's world
    affine, pose = np.eye(4), np.eye(4)
    shape = tuple(int(n) for n in np.ceil(56 / spacing))
    affine[:3, :3] = directions
    affine[:3, 3] = middle - directions @ ((np.array(shape) - 1) / 2)
    pose[:3, :3] = draw(rotation(20))
    pose[:3, 3] = middle + draw(shifts(3)) - pose[:3, :3] @ centre_mm
    return Grid(shape, affine), pose  # type: ignore[arg-type]


def world(grid: Grid) -> np.ndarray:
    """(x, y, z, 3) RAS mm of every voxel."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def centre_of_mass(volume: np.ndarray) -> np.ndarray:
    """In voxels; the tails of a blob, which leave the grids, are cut."""
    return np.array(ndimage.center_of_mass(np.where(volume > 0.2 * volume.max(), volume, 0)))


def middle_of(grid: Grid) -> np.ndarray:
    return grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]


@quiet
@given(data=st.data(), place=shifts(9))
def test_a_blob_of_native_space_comes_home_within_half_a_voxel(make_plans, data, place):
    plans = make_plans(preprocessing__target_shape=[SIZE] * 3)
    standard = standard_grid(plans)
    native, atlas_to_native = data.draw(scans(middle_of(standard)))
    distance = np.linalg.norm(world(native) - (middle_of(native) + place), axis=-1)
    blob = np.exp(-0.5 * (distance / 4) ** 2).astype(np.float32)

    there = resample(blob, native, standard, atlas_to_native)
    assert there.max() > 0.6, "the blob lies on the standard grid"
    back = to_native(there, Geometry({"T1": native}, {"T1": atlas_to_native}), "T1", plans)

    assert back.shape == native.shape and back.dtype == np.float32
    assert np.abs(centre_of_mass(back) - centre_of_mass(blob)).max() < 0.5


@quiet
@given(data=st.data(), seed=st.integers(0, 9), share=st.sampled_from([0.001, 0.05, 1.0]))
def test_every_native_voxel_is_one_interpolation_of_the_map(make_plans, data, seed, share):
    """Also where the map is 0 but for a few voxels, and where it is not 0 at its border."""
    plans = make_plans(preprocessing__target_shape=[24, 28, 20])
    standard = standard_grid(plans)
    native, atlas_to_native = data.draw(scans(middle_of(standard)))
    random = np.random.default_rng(seed)
    volume = (random.random(standard.shape) * (random.random(standard.shape) < share)).astype(
        np.float32
    )
    to_standard = np.linalg.inv(standard.affine) @ np.linalg.inv(atlas_to_native)
    places = world(native) @ to_standard[:3, :3].T + to_standard[:3, 3]
    expected = ndimage.map_coordinates(volume, np.moveaxis(places, -1, 0), order=1, mode="nearest")
    edge = np.minimum(places + 0.5, np.array(standard.shape) - 0.5 - places).min(axis=-1)

    found = to_native(volume, Geometry({"T1": native}, {"T1": atlas_to_native}), "T1", plans)
    np.testing.assert_allclose(found[edge > 1e-6], expected[edge > 1e-6], atol=1e-5)
    np.testing.assert_array_equal(found[edge < -1e-6], 0)
