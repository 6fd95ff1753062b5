"""HD-BET (Isensee et al., Human Brain Mapping 40, 4952–4964, 2019); the user brings its weights.

Its own package would fetch them without asking.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.skull_strip.installed import (
    package_version,
    weights_file,
    with_weights,
)


def _weights() -> Path:
    source = "the folder of HD-BET 2's parameters (with dataset.json, plans.json and fold_all)"
    return weights_file("hd-bet", "fold_all/checkpoint_final.pth", source)


def version() -> str:
    package = package_version("hd-bet", "Install it with `pip install 'dal-auto[hd-bet]'`.")
    return with_weights(package, _weights())


@cache
def _predictor(weights: Path) -> Any:
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


def find(image: FloatArray, grid: Grid) -> BoolArray:
    predictor = _predictor(_weights())
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
