"""greedy against rigid transforms that are known, on a phantom that is known at every point."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.nifti import write_image
from dal_auto.preprocessing import registration
from dal_auto.preprocessing.registration import (
    RegistrationError,
    greedy_backend,
    register_rigid,
    run_greedy,
)

SETTINGS = {"metric": "NMI", "iterations": "100x50x20", "threads": 1}


def grid_about_origin(axes, spacing_mm, shape) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes, float) * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


FIXED = grid_about_origin(np.diag([-1, -1, 1]), (3, 3, 3), (56, 68, 52))


@pytest.fixture
def head(phantom):
    """The phantom with folds, without which an ellipsoid's rotation is poorly determined."""

    def intensity(points_mm):
        folds = np.sin(points_mm / (5, 6, 4.5)).prod(axis=-1)
        return phantom(points_mm) * (1 + 0.4 * folds)

    return intensity


def largest_error_mm(found, true, points_mm):
    homogeneous = np.c_[points_mm, np.ones(len(points_mm))].T
    return np.linalg.norm(((found - true) @ homogeneous)[:3], axis=0).max()


@pytest.mark.parametrize(
    ("axes", "spacing_mm", "shape", "contrast"),
    [
        (np.diag([-1, -1, 1]), (3, 3, 3), (60, 72, 56), lambda image: image),
        # Another contrast, another order of axes, thick slices.
        (
            [[0, 0, 1], [-1, 0, 0], [0, -1, 0]],
            (3, 3, 4),
            (72, 56, 44),
            lambda image: np.where(image > 50, 1000 - image, 0),
        ),
    ],
    ids=["same contrast", "other contrast and axes"],
)
def test_a_known_rigid_transform_is_found(world, head, rigid, axes, spacing_mm, shape, contrast):
    true = rigid((6, -4, 8), (7, -5, 4))
    moving_grid = grid_about_origin(axes, spacing_mm, shape)
    points = world(FIXED)
    fixed = head(points)
    home = np.linalg.inv(true)
    moving = contrast(head(world(moving_grid) @ home[:3, :3].T + home[:3, 3]))
    found = register_rigid(fixed, FIXED, moving, moving_grid, **SETTINGS)
    brain = points[fixed > 0]
    assert largest_error_mm(np.eye(4), true, brain) > 10
    assert largest_error_mm(found, true, brain) < 1
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-4)
    np.testing.assert_array_equal(found[3], (0, 0, 0, 1))


@pytest.fixture
def small(world, phantom):
    grid = grid_about_origin(np.eye(3), (6, 6, 6), (28, 34, 26))
    return phantom(world(grid)), grid


def test_the_same_images_give_the_same_matrix(small):
    first, second = (register_rigid(*small, *small, **SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_greedy_prints_goes_to_the_log_alone(small, tmp_path, capfd):
    for name in ("fixed.nii", "moving.nii"):
        write_image(tmp_path / name, *small)
    arguments = ["-i", "fixed.nii", "moving.nii", "-o", "rigid.mat"]
    arguments += ["-a", "-dof", "6", "-m", "SSD", "-n", "10", "-threads", "1"]
    run_greedy(arguments, tmp_path, tmp_path / "greedy.log")
    assert "optimizer parameters" in (tmp_path / "greedy.log").read_text()
    assert tuple(capfd.readouterr()) == ("", "")


def test_nothing_is_left_behind_also_where_the_temporary_folder_has_a_blank(
    small, tmp_path, monkeypatch
):
    folder = tmp_path / "with a blank"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = os.getcwd()  # noqa: PTH109
    register_rigid(*small, *small, **SETTINGS)
    assert list(folder.iterdir()) == []
    assert os.getcwd() == before  # noqa: PTH109


def test_greedys_complaint_becomes_our_error(small):
    with pytest.raises(RegistrationError, match=r"greedy failed: .+"):
        register_rigid(*small, *small, **(SETTINGS | {"metric": "NCC"}))  # it wants a radius


def test_a_greedy_on_path_comes_before_the_wheel_and_is_named_with_its_version(
    small, tmp_path, monkeypatch
):
    executable = tmp_path / "bin" / "greedy"
    executable.parent.mkdir()
    executable.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = "-version" ]; then echo "greedy 9.9"; exit 0; fi\n'
        'echo "starting"; echo "out of tricks" >&2; exit 3\n'
    )
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{executable.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(registration, "greedy_backend", greedy_backend.__wrapped__)
    assert registration.greedy_backend() == "greedy executable (greedy 9.9)"
    with pytest.raises(RegistrationError, match="out of tricks"):
        register_rigid(*small, *small, **SETTINGS)
