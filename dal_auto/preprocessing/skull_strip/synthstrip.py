"""SynthStrip (Hoopes et al., NeuroImage 260, 119474, 2022); the user brings its weights."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import DalError, MissingDependency
from dal_auto.images import read_mask, write_image
from dal_auto.preprocessing.skull_strip.installed import weights_file, with_weights
from dal_auto.store.temporary import temporary_folder


def _command() -> tuple[str, list[str]]:
    """Name with version, and how to call it: NiPreps' package, else FreeSurfer's program."""
    if importlib.util.find_spec("nipreps") and importlib.util.find_spec("nipreps.synthstrip"):
        name = f"nipreps-synthstrip {metadata.version('nipreps-synthstrip')}"
        return name, [sys.executable, "-m", "nipreps.synthstrip"]
    program = shutil.which("mri_synthstrip")
    if program is None:
        raise MissingDependency(
            "SynthStrip",
            "Install it with `pip install 'dal-auto[synthstrip]'`, or put FreeSurfer's "
            "`mri_synthstrip` on PATH.",
        )
    return "mri_synthstrip", [program]


def _weights() -> Path:
    source = "synthstrip.1.pt, which comes with FreeSurfer (models/)"
    return weights_file("synthstrip", "synthstrip.1.pt", source)


def version() -> str:
    return with_weights(_command()[0], _weights())


def find(image: FloatArray, grid: Grid) -> BoolArray:
    _, command = _command()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(torch.get_num_threads()))
    with temporary_folder("dal_synthstrip_") as folder:
        write_image(folder / "head.nii", image, grid)
        arguments = ["-i", "head.nii", "-m", "brain.nii", "--model", str(_weights())]
        answer = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env=os.environ | threads,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            printed = (answer.stderr or answer.stdout).strip().splitlines() or ["it says nothing"]
            raise DalError(f"SynthStrip failed: {printed[-1]}")
        mask, _ = read_mask(folder / "brain.nii")
    return mask
