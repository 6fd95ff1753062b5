"""brainles-preprocessing in an environment of its own: its setting up, and its runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

VERSION = "0.6.14"
CACHE = Path(__file__).parents[1] / ".cache"
#: Names a Python that has the peer already.
VARIABLE = "DAL_BRAINLES_PYTHON"
#: Its `picsl-greedy` extra pins greedy below 0.0.7; both sides shall run the same greedy.
_REQUIREMENTS = (f"brainles-preprocessing=={VERSION}", "torch==2.13.0", "picsl-greedy==1.4.0.3")


class PeerMissing(Exception):
    """Why the peer does not run here."""


def python_of_peer() -> Path:
    """The peer's Python, set up with pip on first use (1.9 GB, one to three minutes)."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    folder = CACHE / f"brainles-{VERSION}"
    python, stamp = folder / "bin" / "python", folder / ".ready"
    if stamp.is_file():
        return python
    print(f"setting up brainles-preprocessing {VERSION} in {folder}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")  # the folder hides itself
    venv.create(folder, clear=True, with_pip=True)
    # torch by itself first: the same version may be offered as several builds, and the peer's
    # requirements must not choose.
    for requirements in (("torch==2.13.0",), _REQUIREMENTS):
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PeerMissing(f"pip could not install {' '.join(requirements)}: {last}")
    stamp.touch()
    return python


def run_peer(
    tasks: list[dict[str, Any]], atlas: Path, folder: Path, *, threads: int, limit_s: float
) -> dict[str, Any]:
    """Run the peer on all tasks in one process of its own.

    Parameters
    ----------
    tasks : "T1" and "T2" files, "folder" for the outputs (exists)

    Returns
    -------
    "loading" seconds, and for each of "cases" its "seconds", "steps" and "matrices"
    """
    try:
        python = python_of_peer()
    except OSError as error:
        raise PeerMissing(f"its environment could not be made: {error}") from error
    answer, log = folder / "brainles.json", folder / "brainles.txt"
    capped = {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    }
    script = Path(__file__).with_name("brainles_peer.py")
    try:
        with log.open("w") as file:
            subprocess.run(
                [str(python), str(script), str(answer)],
                input=json.dumps({"tasks": tasks, "atlas": str(atlas)}),
                text=True,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **capped, "BRAINLES_PREPROCESSING_CITATION_REMINDER": "false"},
                timeout=limit_s,
                check=True,
            )
    except subprocess.TimeoutExpired:
        raise PeerMissing(f"it did not end within {limit_s:g} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        last = (log.read_text(errors="replace").strip().splitlines() or [str(error)])[-1]
        raise PeerMissing(f"it failed: {last}") from error
    return json.loads(answer.read_text())


if __name__ == "__main__":  # sets it up, and says where
    sys.stdout.write(f"{python_of_peer()}\n")
