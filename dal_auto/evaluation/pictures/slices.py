"""What is kept of a few cases for figures that lay methods side by side: slices and vectors.

Which cases these are follows from their ids alone, so that all runs keep the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dal_auto.case import FloatArray, StandardCase
from dal_auto.errors import InputError
from dal_auto.figures.panels import view_point
from dal_auto.inference.predictor import Prediction
from dal_auto.scoring.pooled_curve import UNREADABLE
from dal_auto.store.atomic import replacing
from dal_auto.volumes import block_mean

SHOWN, EMBEDDED = 4, 40  # cases of a dataset with slices, with vectors
_ANATOMY_BLOCK = 8  # mm: coarse enough to be small, fine enough to tell brains apart


def chosen_cases(case_ids: Iterable[str], number: int) -> frozenset[str]:
    """`number` of the cases, drawn by their ids."""

    def drawn(case_id: str) -> str:
        return hashlib.sha256(case_id.encode()).hexdigest()

    return frozenset(sorted(case_ids, key=drawn)[:number])


def keep_slices(
    path: Path, case: StandardCase, prediction: Prediction, closer: Mapping[str, FloatArray]
) -> None:
    """Write the axial slices through the largest lesion, or the brain's middle, as 8 bits.

    Arrays (x, y) by name: "input", "lesion" (0 or 1), "pseudo-healthy" where there is one,
    "extra …", and "anomaly …" of each variant: 255 is the largest score of the whole volume.

    Parameters
    ----------
    closer : further volumes for figures (`predictor.look_closer`)
    """
    _, _, z = view_point(case.lesion_mask, None, case.brain_mask)
    lesion = case.lesion_mask if case.lesion_mask is not None else np.zeros_like(case.brain_mask)
    slices = {"input": _bytes(prediction.image[:, :, z], 1.0), "lesion": lesion[:, :, z]}
    if prediction.pseudo_healthy is not None:
        slices["pseudo-healthy"] = _bytes(prediction.pseudo_healthy[:, :, z], 1.0)
    for name, extra in {**prediction.extras, **closer}.items():
        slices[f"extra {name}"] = _bytes(extra[:, :, z], 1.0)
    for variant, score in prediction.anomaly.items():
        slices[f"anomaly {variant}"] = _bytes(score[:, :, z], float(score.max()))
    _save(path, slices)


def keep_vectors(path: Path, prediction: Prediction) -> None:
    """Write vectors that describe the image, as float16; nothing where the method has none.

    The method's own (`Prediction.vectors`, where it has them), and "anatomy", its anatomical image
    in blocks of 8 mm. "… restored" is that of the pseudo-healthy image.
    """
    vectors = dict(_vectors_of(prediction))
    if "anatomy" in prediction.extras:
        vectors["anatomy"] = block_mean(prediction.extras["anatomy"], _ANATOMY_BLOCK)
    if vectors:
        _save(path, {name: np.ravel(v).astype(np.float16) for name, v in vectors.items()})


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """What either function wrote.

    Raises
    ------
    InputError
        if the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except UNREADABLE as error:
        raise InputError(
            path, f"it cannot be read ({type(error).__name__})", "Delete it and evaluate again."
        ) from error


def _vectors_of(prediction: Prediction) -> Mapping[str, FloatArray]:
    found: Mapping[str, FloatArray] = getattr(prediction, "vectors", {})
    return found


def _bytes(picture: FloatArray, largest: float) -> npt.NDArray[np.uint8]:
    scaled = np.clip(picture / largest, 0, 1) if largest > 0 else np.zeros_like(picture)
    return np.round(255 * scaled).astype(np.uint8)


def _save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))
