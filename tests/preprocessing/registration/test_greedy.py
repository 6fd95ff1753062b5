"""greedy, through the wheel and as an executable: its output, its folder, its complaints."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import MissingDependency
from dal_auto.images import write_image
from dal_auto.preprocessing.registration import greedy as module
from dal_auto.preprocessing.registration.greedy import (
    iterations_needed,
    register,
    run_greedy,
    version,
)

SETTINGS = {"transform": "rigid", "metric": "NMI", "iterations": "20x10", "threads": 1}


@pytest.fixture
def small(world, phantom):
    affine = np.diag([6.0, 6, 6, 1])
    affine[:3, 3] = (-81, -99, -75)
    grid = Grid((28, 34, 26), affine)
    return phantom(world(grid)), grid


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Put a `greedy` of our own on PATH."""

    def write(text: str) -> None:
        executable = tmp_path / "bin" / "greedy"
        executable.parent.mkdir()
        executable.write_text(f"#!/bin/sh\n{text}\n")
        executable.chmod(0o755)
        monkeypatch.setenv("PATH", f"{executable.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(module, "version", version.__wrapped__)

    return write


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
    register(*small, *small, **(SETTINGS | {"transform": "affine"}))
    assert list(folder.iterdir()) == []
    assert os.getcwd() == before  # noqa: PTH109


@pytest.mark.parametrize("metric", ["NMI", "MI", "SSD", "NCC 2x2x2"])
def test_two_threads_give_the_same_matrix_every_time(small, metric):
    settings = SETTINGS | {"threads": 2, "metric": metric}
    first, second = (register(*small, *small, **settings) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_greedys_complaint_is_the_message(small):
    with pytest.raises(RuntimeError, match=r"\w+"):
        register(*small, *small, **(SETTINGS | {"metric": "NCC"}))  # it wants a radius


def test_a_greedy_on_path_comes_before_the_wheel_and_is_named_with_its_version(small, script):
    script(
        'if [ "$1" = "-version" ]; then echo "greedy 9.9"; exit 0; fi\n'
        'echo "starting"; echo "out of tricks" >&2; exit 3'
    )
    assert module.version() == "greedy executable (greedy 9.9)"
    with pytest.raises(RuntimeError, match="out of tricks"):
        register(*small, *small, **SETTINGS)


def test_the_executable_is_asked_rigid_first_then_affine_from_there(small, script):
    script(
        'if [ "$1" = "-version" ]; then echo "greedy 9.9"; exit 0; fi\n'
        'case "$*" in\n'
        '  *"-dof 6 -ia-image-centers -o rigid.mat") m=rigid.mat; s=1;;\n'
        '  *"-dof 12 -ia rigid.mat -o affine.mat") m=affine.mat; s=$(head -c1 rigid.mat)2;;\n'
        "esac\n"
        'printf "$s 0 0 0\\n0 1 0 0\\n0 0 1 0\\n0 0 0 1\\n" > $m'
    )
    for transform, scale in (("rigid", 1), ("affine", 12)):
        found = register(*small, *small, **(SETTINGS | {"transform": transform}))
        np.testing.assert_array_equal(found, np.diag([scale, 1, 1, 1]))


def test_without_any_greedy_the_error_says_how_to_get_one(monkeypatch):
    def absent(_):
        raise module.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(module.importlib.metadata, "version", absent)
    with pytest.raises(MissingDependency, match=r"pip install picsl-greedy.*simpleitk"):
        version.__wrapped__()


@pytest.mark.parametrize(
    ("fixed_mm", "moving_mm", "finest_mm", "needed"),
    [
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 2.0, "100x50x0"),
        ((1.0, 1.0000001, 1.0), (1.0, 1.0, 2.0), 2.0, "100x50x0"),
        ((1.0, 1.0, 1.0), (0.5, 0.5, 4.0), 2.0, "100x50x5"),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 2.0, "100x0x0"),
        ((0.2, 0.2, 0.2), (0.2, 0.2, 0.2), 2.0, "100x0x0"),
        ((0.5, 0.5, 4.0), (1.0, 1.0, 1.0), 2.0, "100x50x5"),
        ((1.2, 1.0, 1.0), (1.0, 1.0, 1.0), 2.0, "100x50x5"),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0.0, "100x50x5"),
    ],
)
def test_levels_finer_than_need_be_are_left_out(fixed_mm, moving_mm, finest_mm, needed):
    assert iterations_needed("100x50x5", fixed_mm, moving_mm, finest_mm) == needed


def test_one_level_alone_is_always_run():
    assert iterations_needed("20", (0.1,) * 3, (0.1,) * 3, 2.0) == "20"
