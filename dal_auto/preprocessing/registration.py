"""Rigid registration by greedy (Yushkevich), through its executable or the picsl-greedy wheel."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from dal_auto.case import FloatArray, Grid
from dal_auto.errors import DalError, MissingDependency
from dal_auto.nifti import write_image

logger = logging.getLogger(__name__)


class RegistrationError(DalError):
    """greedy did not give a matrix."""


@cache
def greedy_backend() -> str:
    """Which greedy runs, with its version: the ``greedy`` on PATH, else the wheel."""
    executable = shutil.which("greedy")
    if executable is not None:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, check=False
        )
        return f"greedy executable ({(answer.stdout.strip().splitlines() or ['unknown'])[0]})"
    try:
        return f"picsl-greedy {version('picsl-greedy')}"
    except PackageNotFoundError:
        raise MissingDependency(
            "greedy", "Install it with `pip install picsl-greedy`, or put `greedy` on PATH."
        ) from None


@contextmanager
def _captured_output(log: Path) -> Iterator[None]:
    """Send what C++ code prints on file descriptors 1 and 2 to `log`: Python cannot redirect it."""
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def run_greedy(arguments: list[str], folder: Path, log: Path) -> None:
    """Run greedy with command-line `arguments` inside `folder`; what it prints goes to `log`."""
    if greedy_backend().startswith("greedy executable"):
        with log.open("wb") as file:
            subprocess.run(["greedy", *arguments], cwd=folder, stdout=file, stderr=file, check=True)
        return
    from picsl_greedy import Greedy3D  # 19 MB of library, wanted only here

    # What greedy prints goes to `out`, by default the sys.stdout of the moment it was imported;
    # the libraries inside it print on the descriptors.
    with _captured_output(log), chdir(folder), log.open("a") as file:
        Greedy3D().execute(" ".join(arguments), out=file, err=file)


def register_rigid(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    *,
    metric: str,
    iterations: str,
    threads: int,
) -> FloatArray:
    """The rigid map (6 degrees of freedom) that lays `moving` onto `fixed`.

    Parameters
    ----------
    fixed, moving : (x, y, z) images
    metric, iterations : greedy's ``-m`` and ``-n``

    Returns
    -------
    (4, 4) array, RAS mm in the fixed world → RAS mm in the moving world

    Raises
    ------
    RegistrationError
        if greedy fails; the message ends with the last line it printed.
    """
    with tempfile.TemporaryDirectory(prefix="dal_greedy_") as folder:
        log = Path(folder) / "greedy.log"
        write_image(Path(folder) / "fixed.nii", fixed, fixed_grid)
        write_image(Path(folder) / "moving.nii", moving, moving_grid)
        # Bare names, run inside the folder: the wheel splits its command line at blanks, and the
        # folder for temporary files may have one in its name.
        arguments = ["-i", "fixed.nii", "moving.nii"]
        arguments += ["-o", "rigid.mat", "-a", "-dof", "6", "-m", metric]
        arguments += ["-n", iterations, "-ia-image-centers"]
        arguments += ["-threads", str(threads), "-seed", "1", "-V", "0"]
        try:
            run_greedy(arguments, Path(folder), log)
            matrix = np.loadtxt(Path(folder) / "rigid.mat")
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            printed = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            raise RegistrationError(f"greedy failed: {(printed or [str(error)])[-1]}") from error
    return matrix
