"""Resampling: SimpleITK and closed forms are the references; any axes, any angle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dal_auto.case import Grid
from dal_auto.preprocessing.resampling import resample, resample_lesions, resample_mask

FLIPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS ↔ LPS
ORIENTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]

#: Rounded: from angles of 1e-308 ITK's own decomposition of a matrix fails.
angles = st.tuples(*[st.floats(-15, 15).map(lambda degrees: round(degrees, 3))] * 3)
shifts = st.tuples(*[st.floats(-6, 6)] * 3)
#: Of the file's axes: all 48 permutations and flips, then oblique.
grids = st.builds(
    lambda axes, degrees, spacing, shape: centred(
        Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ axes * spacing, shape
    ),
    st.sampled_from(ORIENTATIONS),
    angles,
    st.tuples(*[st.floats(1.5, 4)] * 3),
    st.tuples(*[st.integers(14, 20)] * 3),
)
rigids = st.builds(lambda degrees, shift: matrix(degrees, shift), angles, shifts)


def matrix(degrees, shift) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine[:3, 3] = shift
    return affine


def centred(directions: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """The grid with these columns whose middle is the origin of the world."""
    affine = np.eye(4)
    affine[:3, :3] = directions
    affine[:3, 3] = -directions @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def source_voxels(source: Grid, target: Grid, target_to_source: np.ndarray) -> np.ndarray:
    """(x, y, z, 3): where each voxel of `target` lies in `source`, in voxels."""
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    voxel_map = np.linalg.inv(source.affine) @ target_to_source @ target.affine
    return index @ voxel_map[:3, :3].T + voxel_map[:3, 3]


def inside(voxels: np.ndarray, shape: tuple[int, int, int], margin: float) -> np.ndarray:
    return ((voxels >= margin) & (voxels <= np.array(shape) - 1 - margin)).all(axis=-1)


def as_itk(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array, np.float32).T)
    lps = FLIPS @ grid.affine
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection((lps[:3, :3] / grid.spacing_mm).ravel())
    return image


@settings(max_examples=40, deadline=None)
@given(grids, grids, rigids, st.integers(0, 99))
def test_resampling_agrees_with_simpleitk(source, target, target_to_source, seed):
    array = np.random.default_rng(seed).random(source.shape).astype(np.float32)
    lps = FLIPS @ target_to_source @ FLIPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel())
    transform.SetTranslation(lps[:3, 3])
    reference = sitk.GetArrayFromImage(
        sitk.Resample(as_itk(array, source), as_itk(np.zeros(target.shape), target), transform)
    ).T
    ours = resample(array, source, target, target_to_source)
    # Like SimpleITK's, the image reaches half a voxel beyond the centres of its outer voxels.
    where = inside(source_voxels(source, target, target_to_source), source.shape, 1e-4 - 0.5)
    assert where.sum() > 100
    np.testing.assert_allclose(ours[where], reference[where], atol=2e-5)
    outside = ~inside(source_voxels(source, target, target_to_source), source.shape, -1e-4 - 0.5)
    np.testing.assert_array_equal(ours[outside], 0)


@settings(max_examples=30, deadline=None)
@given(grids, grids, rigids, st.tuples(*[st.floats(-5, 5)] * 4))
def test_a_linear_function_of_the_world_is_reproduced_exactly(source, target, rigid, weights):
    *slope, constant = weights

    def ramp(points_mm: np.ndarray) -> np.ndarray:
        return points_mm @ slope + constant

    def world(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
        return voxels @ affine[:3, :3].T + affine[:3, 3]

    own_voxels = source_voxels(source, source, np.eye(4))
    result = resample(ramp(world(own_voxels, source.affine)), source, target, rigid)
    voxels = source_voxels(source, target, rigid)
    where = inside(voxels, source.shape, 1e-4)
    expected = ramp(world(voxels, source.affine))
    np.testing.assert_allclose(result[where], expected[where], atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(grids, grids, rigids, shifts)
def test_there_and_back_a_spot_is_where_it_was_within_half_a_voxel(source, target, rigid, spot_mm):
    def centre(image: np.ndarray, grid: Grid) -> np.ndarray:
        voxels = source_voxels(grid, grid, np.eye(4))
        mean = np.average(voxels.reshape(-1, 3), axis=0, weights=image.ravel())
        return grid.affine[:3, :3] @ mean + grid.affine[:3, 3]

    voxels = source_voxels(source, source, np.eye(4))
    points = voxels @ source.affine[:3, :3].T + source.affine[:3, 3]
    spot = np.exp(-0.5 * (np.linalg.norm(points - spot_mm, axis=-1) / 2.5) ** 2)
    # The moved spot must fit into the target, or its part beyond the border is lost.
    assume(np.abs(np.linalg.inv(rigid)[:3] @ [*spot_mm, 1]).max() < 4)
    there = resample(spot, source, target, rigid)
    back = resample(there, target, source, np.linalg.inv(rigid))
    distance = np.linalg.norm(centre(back, source) - centre(spot, source))
    assert distance < 0.5 * min(source.spacing_mm)
    moved = np.linalg.inv(rigid) @ [*centre(spot, source), 1]
    assert np.linalg.norm(centre(there, target) - moved[:3]) < 0.5 * min(target.spacing_mm)


@pytest.mark.parametrize("axes", ORIENTATIONS, ids=lambda axes: str(axes.sum(axis=0)))
def test_where_lattices_coincide_values_come_through_unchanged(axes):
    array = np.random.default_rng(0).normal(0, 1e4, (7, 8, 9)).astype(np.float32)
    source = centred(np.eye(3) * (0.9, 1.1, 1.3), (7, 8, 9))
    order = np.abs(axes).argmax(axis=0)
    target = centred(
        axes * np.array(source.spacing_mm)[order], tuple(np.array(source.shape)[order])
    )
    result = resample(array, source, target, np.eye(4))
    expected = array.transpose(order)
    flips = [axis for axis in range(3) if axes[order[axis], axis] < 0]
    np.testing.assert_array_equal(result, np.flip(expected, flips))
    assert result.dtype == np.float32


def test_a_crop_keeps_the_values_and_a_pad_is_zero():
    array = np.random.default_rng(0).random((6, 6, 6)).astype(np.float32) + 1
    source = centred(np.eye(3) * 1.7, (6, 6, 6))
    affine = source.affine.copy()
    affine[:3, 3] += source.affine[:3, :3] @ (2, -1, 0)
    result = resample(array, source, Grid((3, 8, 6), affine), np.eye(4))
    np.testing.assert_array_equal(result[:, 1:7], array[2:5])
    np.testing.assert_array_equal(result[:, [0, 7]], 0)


def test_a_masks_volume_survives_resampling(rigid, world):
    fine, coarse = centred(np.eye(3) * 1.5, (40, 40, 40)), centred(np.eye(3) * 2.2, (28, 28, 28))
    ball = np.linalg.norm(world(fine), axis=-1) < 18
    moved = resample_mask(ball, fine, coarse, rigid((10, 20, 30), (1, 2, 3)))
    assert moved.dtype == bool
    assert moved.sum() * coarse.voxel_ml == pytest.approx(ball.sum() * fine.voxel_ml, rel=0.02)
    # Its surface is where it was: the ball about the moved centre.
    distance = np.linalg.norm(
        world(coarse) - np.linalg.inv(rigid((10, 20, 30), (1, 2, 3)))[:3, 3], axis=-1
    )
    assert not moved[distance > 18 + 2.2].any()
    assert moved[distance < 18 - 2.2].all()


@settings(max_examples=20, deadline=None)
@given(grids, grids, rigids, st.integers(0, 9))
def test_lesions_go_by_the_nearest_voxel(source, target, rigid, seed):
    mask = np.random.default_rng(seed).random(source.shape) < 0.3
    moved = resample_lesions(mask, source, target, rigid)
    voxels = source_voxels(source, target, rigid)
    # Where two voxels are equally near, either may be taken.
    sure = np.abs(voxels - np.floor(voxels) - 0.5).min(axis=-1) > 1e-6
    where = inside(voxels, source.shape, -0.5) & sure
    x, y, z = np.rint(voxels[where]).astype(int).T
    np.testing.assert_array_equal(moved[where], mask[x, y, z])
    assert not moved[~inside(voxels, source.shape, -0.5 - 1e-6)].any()
    assert moved.dtype == bool


@pytest.mark.parametrize("axes", ORIENTATIONS[::7], ids=lambda axes: str(axes.sum(axis=0)))
def test_lesions_on_a_lattice_that_coincides_come_through_unchanged(axes):
    mask = np.random.default_rng(0).random((7, 8, 9)) < 0.3
    source = centred(np.eye(3), (7, 8, 9))
    order = np.abs(axes).argmax(axis=0)
    target = centred(axes, tuple(np.array(source.shape)[order]))
    flips = [axis for axis in range(3) if axes[order[axis], axis] < 0]
    np.testing.assert_array_equal(
        resample_lesions(mask, source, target, np.eye(4)), np.flip(mask.transpose(order), flips)
    )


@settings(max_examples=30, deadline=None)
@given(grids, grids, rigids, st.integers(0, 99))
def test_interpolation_makes_no_negative_and_nothing_that_is_not_finite(
    source, target, rigid, seed
):
    array = np.random.default_rng(seed).exponential(1e4, source.shape).astype(np.float32)
    array[array < 5e3] = 0
    result = resample(array, source, target, rigid)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= array.max()
