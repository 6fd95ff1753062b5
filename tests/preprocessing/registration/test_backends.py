"""Both backends against transforms that are known, on a phantom that is known at every point."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from dal_auto.case import Grid
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.registration import (
    greedy as registration_greedy,
)
from dal_auto.preprocessing.registration import (
    simpleitk as registration_simpleitk,
)
from dal_auto.preprocessing.registration.backends import (
    RegistrationError,
    backend_settings,
    register,
)

BACKENDS = ("greedy", "simpleitk")


def plan(backend: str, **settings) -> PreprocessingPlan:
    settings = {"registration_iterations": "100x50x20"} | settings
    return PreprocessingPlan(registration=backend, **settings)


def grid_about_origin(axes, spacing_mm, shape) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes, float) * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


FIXED = grid_about_origin(np.diag([-1, -1, 1]), (3, 3, 3), (56, 68, 52))
SAME = (np.diag([-1, -1, 1]), (3, 3, 3), (60, 72, 56))
#: Another order of axes, thick slices.
THICK = ([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (3, 3, 4), (72, 56, 44))


@pytest.fixture
def head(phantom):
    """The phantom with folds, without which an ellipsoid's rotation is poorly determined."""

    def intensity(points_mm):
        folds = np.sin(points_mm / (5, 6, 4.5)).prod(axis=-1)
        return phantom(points_mm) * (1 + 0.4 * folds)

    return intensity


def other_contrast(image):
    return np.where(image > 50, 1000 - image, 0)


def world_corners(grid):
    corners = np.stack(np.meshgrid(*[(0, size - 1) for size in grid.shape]), -1).reshape(-1, 3)
    return corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def largest_error_mm(found, true, points_mm):
    homogeneous = np.c_[points_mm, np.ones(len(points_mm))].T
    return np.linalg.norm(((found - true) @ homogeneous)[:3], axis=0).max()


@pytest.fixture
def scan(world, head):
    """An image of the head after it was moved by a matrix, and its grid."""

    def take(where, moved=None, contrast=lambda image: image):
        grid = where if isinstance(where, Grid) else grid_about_origin(*where)
        home = np.linalg.inv(np.eye(4) if moved is None else moved)
        return contrast(head(world(grid) @ home[:3, :3].T + home[:3, 3])), grid

    return take


@pytest.fixture
def brain(world, head):
    points = world(FIXED)
    return points[head(points) > 0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("where", "contrast"),
    [(SAME, lambda image: image), (THICK, other_contrast)],
    ids=["same contrast", "other contrast and axes"],
)
def test_a_known_rigid_transform_is_found(scan, brain, rigid, backend, where, contrast):
    true = rigid((6, -4, 8), (7, -5, 4))
    found = register(*scan(FIXED), *scan(where, true, contrast), plan=plan(backend), threads=1)
    assert largest_error_mm(np.eye(4), true, brain) > 10
    assert largest_error_mm(found, true, brain) < 1
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(found[3], (0, 0, 0, 1), atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_known_affine_transform_is_found_and_by_rigid_is_not(scan, brain, rigid, backend):
    """Scaled by up to 12 %, as brains in MNI space are, and sheared."""
    true = rigid((6, -4, 8), (7, -5, 4))
    true[:3, :3] @= np.array([[1.08, 0.03, 0], [0, 0.96, 0.02], [0, 0, 1.12]])
    images = (*scan(FIXED), *scan(SAME, true))
    errors = {
        transform: largest_error_mm(
            register(*images, plan=plan(backend), transform=transform, threads=1), true, brain
        )
        for transform in ("rigid", "affine")
    }
    assert errors["affine"] < 1 < 4 < errors["rigid"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("transform", ["rigid", "affine"])
def test_the_same_images_give_the_same_matrix(small, backend, transform):
    first, second = (
        register(*small, *small, plan=plan(backend), transform=transform, threads=1)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_whose_header_puts_it_miles_away_is_laid_as_if_it_were_near(small, backend):
    array, grid = small
    far = np.eye(4)
    far[:3, 3] = 1e6, -2e6, 3e6
    moved = Grid(grid.shape, far @ grid.affine)
    near, found, back = (
        register(*pair, plan=plan(backend), threads=1)
        for pair in ((*small, *small), (*small, array, moved), (array, moved, *small))
    )
    corners = world_corners(grid)
    assert largest_error_mm(found, far @ near, corners) < 0.01
    assert largest_error_mm(back @ far, near, corners) < 0.01


def test_simpleitk_gives_the_same_matrix_whatever_the_number_of_threads(small):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    matrices = []
    try:
        for threads in (1, 2, 2):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            matrices.append(register(*small, *small, plan=plan("simpleitk"), threads=threads))
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    np.testing.assert_array_equal(matrices[0], matrices[1])
    np.testing.assert_array_equal(matrices[1], matrices[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_far_from_the_middle_of_its_image_is_found(scan, brain, rigid, backend):
    """100 mm of neck and air below: the images' centres lie 50 mm apart."""
    axes, spacing, (x, y, z) = SAME
    long = grid_about_origin(axes, spacing, (x, y, z + 34))
    long.affine[2, 3] = grid_about_origin(*SAME).affine[2, 3] - 34 * 3
    true = rigid((5, -4, 6), (3, -5, 4))
    found = register(*scan(FIXED), *scan(long, true), plan=plan(backend), threads=1)
    assert largest_error_mm(found, true, brain) < 1


@pytest.mark.parametrize(
    ("backend", "fails"),
    [("greedy", "run_greedy"), ("simpleitk", "_method")],
)
def test_the_backends_complaint_becomes_our_error(small, monkeypatch, backend, fails):
    module = {"greedy": registration_greedy, "simpleitk": registration_simpleitk}[backend]

    def complain(*_, **__):
        raise RuntimeError("out of tricks")

    monkeypatch.setattr(module, fails, complain)
    with pytest.raises(RegistrationError, match=f"{backend} failed: out of tricks"):
        register(*small, *small, plan=plan(backend), threads=1)


def test_the_settings_that_run_are_told():
    assert backend_settings(plan("greedy")).endswith(", NMI 100x50x20, to 2 mm")
    assert backend_settings(plan("simpleitk")) == (
        f"SimpleITK {sitk.Version.VersionString()}, Mattes MI, 10% samples, shrink 4,2,1"
    )


@pytest.fixture
def small(world, phantom):
    grid = grid_about_origin(np.eye(3), (6, 6, 6), (28, 34, 26))
    return phantom(world(grid)), grid
