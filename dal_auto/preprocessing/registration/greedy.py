"""Registration by greedy (Yushkevich), through its executable or the picsl-greedy wheel."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from dal_auto.case import FloatArray, Grid
from dal_auto.errors import MissingDependency
from dal_auto.images import write_image
from dal_auto.store.temporary import temporary_folder

#: With these, several threads add up in another order every time, and the matrix differs from run
#: to run (mutual information by 3e-4 mm where measured; NCC in the last digit, on a busy machine):
#: they get one thread.
_METRICS_OF_ONE_THREAD = ("MI", "NMI", "NCC", "WNCC")
#: Voxels of 1 mm have 1.0000001 in some headers.
_ROUNDING = 1.001

_CALL_THE_WHEEL = """
import sys
sys.path.append(sys.argv[1])
from picsl_greedy import Greedy3D
try:
    Greedy3D().execute(" ".join(sys.argv[2:]))
except Exception as error:
    sys.exit(str(error))
"""


@cache
def version() -> str:
    """Which greedy runs, with its version: the ``greedy`` on PATH, else the wheel."""
    executable = shutil.which("greedy")
    if executable is not None:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, check=False
        )
        return f"greedy executable ({(answer.stdout.strip().splitlines() or ['unknown'])[0]})"
    try:
        return f"picsl-greedy {importlib.metadata.version('picsl-greedy')}"
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency(
            "greedy",
            "Install it with `pip install picsl-greedy`, put `greedy` on PATH, or set "
            "preprocessing.registration=simpleitk.",
        ) from None


def _command() -> list[str]:
    """How to call greedy: the program, or the wheel's library in a Python of its own.

    The library holds Python's lock while it works, prints on the process's descriptors and reads
    bare names in its working folder: as a process several run side by side.
    """
    executable = shutil.which("greedy")
    if executable is not None:
        return [executable]
    # Without site-packages and what they start: only the library itself is wanted.
    found = importlib.util.find_spec("picsl_greedy")
    if found is None or found.origin is None:
        raise FileNotFoundError("picsl_greedy is not installed")
    return [sys.executable, "-I", "-S", "-c", _CALL_THE_WHEEL, str(Path(found.origin).parent)]


def run_greedy(arguments: list[str], folder: Path, log: Path) -> None:
    """Run greedy with command-line `arguments` inside `folder`; what it prints goes to `log`."""
    with log.open("ab") as file:
        command = [*_command(), *arguments]
        subprocess.run(command, cwd=folder, stdout=file, stderr=file, check=True)


def iterations_needed(
    iterations: str, fixed_mm: Sequence[float], moving_mm: Sequence[float], finest_mm: float
) -> str:
    """Iterations of greedy's levels, 0 for those that are finer than need be.

    Each level has voxels of half the edge of the one before, the last one the images' own. A level
    is needed if the one before it has a longer edge than `finest_mm`, or in the moving image than
    twice that: measured with slices of 2 mm, which are 4 mm there.

    Parameters
    ----------
    iterations : greedy's ``-n``, such as "100x50x5"
    fixed_mm, moving_mm : the images' voxels

    Examples
    --------
    >>> iterations_needed("100x50x5", (1, 1, 1), (0.8, 0.8, 2), 2)
    '100x50x0'
    >>> iterations_needed("100x50x5", (1, 1, 1), (0.5, 0.5, 4), 2)
    '100x50x5'
    """
    longest_mm = max(*fixed_mm, max(moving_mm) / 2)
    counts = iterations.split("x")
    for finer in range(1, len(counts)):
        if longest_mm * 2**finer > finest_mm * _ROUNDING:
            break
        counts[-finer] = "0"
    return "x".join(counts)


def register(
    fixed: FloatArray,
    fixed_grid: Grid,
    moving: FloatArray,
    moving_grid: Grid,
    *,
    transform: Literal["rigid", "affine"],
    metric: str,
    iterations: str,
    threads: int,
) -> FloatArray:
    """As `registration.register`; an affine map starts from the rigid one.

    Parameters
    ----------
    metric, iterations : greedy's ``-m`` and ``-n``
    threads : at most; all metrics but SSD run in one, so that results repeat

    Raises
    ------
    RuntimeError
        if greedy fails; the message is the last line it printed.
    """
    threads = 1 if metric.split()[0] in _METRICS_OF_ONE_THREAD else threads
    with temporary_folder("dal_greedy_") as folder:
        log = folder / "greedy.log"
        write_image(folder / "fixed.nii", fixed, fixed_grid)
        write_image(folder / "moving.nii", moving, moving_grid)
        # Bare names, run inside the folder: the wheel splits its command line at blanks, and the
        # folder for temporary files may have one in its name.
        common = ["-i", "fixed.nii", "moving.nii", "-a", "-m", metric, "-n", iterations]
        common += ["-threads", str(threads), "-seed", "1", "-V", "0"]
        try:
            run_greedy([*common, "-dof", "6", "-ia-image-centers", "-o", "rigid.mat"], folder, log)
            if transform == "affine":
                affine = ["-dof", "12", "-ia", "rigid.mat", "-o", "affine.mat"]
                run_greedy([*common, *affine], folder, log)
            return np.loadtxt(folder / f"{transform}.mat")
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            printed = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            raise RuntimeError((printed or [str(error)])[-1]) from error
