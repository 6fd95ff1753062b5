"""What is kept of a few cases for figures that lay methods side by side: slices and vectors.

Which cases these are follows from their ids alone, so that all runs keep the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dal_auto.case import FloatArray, StandardCase
from dal_auto.errors import InputError
from dal_auto.figures.view import view_point
from dal_auto.inference.predictor import Prediction
from dal_auto.scoring.pooled_curve import UNREADABLE
from dal_auto.store.atomic import replacing
from dal_auto.volumes import block_mean

HalfArray = npt.NDArray[np.float16]

# Names within a file: a prefix tells whose mapping an array is of.
_IMAGE, _LESION, _HEALTHY = "image", "lesion", "pseudo-healthy"
_EXTRAS, _ANOMALY = "extras/", "anomaly/"
_OF_IMAGE, _RESTORED = "image/", "restored/"
_OF_RESTORED = " restored"  # as methods name the vector of a pseudo-healthy image

SHOWN, EMBEDDED = 4, 40  # cases of a dataset with slices, with vectors
_ANATOMY_BLOCK = 8  # mm: coarse enough to be small, fine enough to tell brains apart


def chosen_cases(case_ids: Iterable[str], number: int) -> frozenset[str]:
    """`number` of the cases, drawn by their ids."""

    def drawn(case_id: str) -> str:
        return hashlib.sha256(case_id.encode()).hexdigest()

    return frozenset(sorted(case_ids, key=drawn)[:number])


ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Slices:
    """Axial slices of one image, (x, y) uint8: through the largest lesion, or the brain's middle.

    Parameters
    ----------
    image, pseudo_healthy : 255 × the value in [0, 1]
    lesion : 0 or 1
    extras : further volumes of the method, by name, 255 × the value in [0, 1]
    anomaly : variant → score; 255 is the largest of the whole volume
    """

    image: ByteArray
    lesion: ByteArray
    pseudo_healthy: ByteArray | None
    extras: Mapping[str, ByteArray]
    anomaly: Mapping[str, ByteArray]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors that describe one image, (n,) float16, by name; of its restoration where known."""

    image: Mapping[str, HalfArray]
    restored: Mapping[str, HalfArray]


def keep_slices(
    path: Path, case: StandardCase, prediction: Prediction, closer: Mapping[str, FloatArray]
) -> None:
    """Write the `Slices` of one prediction.

    Parameters
    ----------
    closer : further volumes for figures (`predictor.figure_volumes`)
    """
    _, _, z = view_point(case.lesion_mask, None, case.brain_mask)
    lesion = case.lesion_mask if case.lesion_mask is not None else np.zeros_like(case.brain_mask)
    healthy = prediction.pseudo_healthy
    arrays = {_IMAGE: _bytes(prediction.image[:, :, z], 1.0), _LESION: lesion[:, :, z]}
    if healthy is not None:
        arrays[_HEALTHY] = _bytes(healthy[:, :, z], 1.0)
    for name, extra in {**prediction.extras, **closer}.items():
        arrays[_EXTRAS + name] = _bytes(extra[:, :, z], 1.0)
    for variant, score in prediction.anomaly.items():
        arrays[_ANOMALY + variant] = _bytes(score[:, :, z], float(score.max()))
    _save(path, arrays)


def read_slices(path: Path) -> Slices:
    """Read what `keep_slices` wrote.

    Raises
    ------
    InputError
        if the file is damaged, or lacks a slice.
    """
    arrays = _read(path, {_IMAGE, _LESION})
    return Slices(
        image=arrays[_IMAGE],
        lesion=arrays[_LESION],
        pseudo_healthy=arrays.get(_HEALTHY),
        extras=_below(_EXTRAS, arrays),
        anomaly=_below(_ANOMALY, arrays),
    )


def keep_vectors(path: Path, prediction: Prediction) -> None:
    """Write the `Vectors` of one prediction; nothing where the method has none.

    They are the method's own, and "anatomy", its anatomical image in blocks of 8 mm.
    """
    arrays = {
        f"{_RESTORED}{name.removesuffix(_OF_RESTORED)}"
        if name.endswith(_OF_RESTORED)
        else f"{_OF_IMAGE}{name}": vector
        for name, vector in prediction.vectors.items()
    }
    if "anatomy" in prediction.extras:
        arrays[f"{_OF_IMAGE}anatomy"] = block_mean(prediction.extras["anatomy"], _ANATOMY_BLOCK)
    if arrays:
        _save(path, {name: np.ravel(v).astype(np.float16) for name, v in arrays.items()})


def read_vectors(path: Path) -> Vectors:
    """Read what `keep_vectors` wrote.

    Raises
    ------
    InputError
        if the file is damaged.
    """
    arrays = _read(path, set())
    return Vectors(_below(_OF_IMAGE, arrays), _below(_RESTORED, arrays))


def _below(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}


def _read(path: Path, needed: set[str]) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if missing := needed - set(stored.files):
                raise ValueError(f"{', '.join(sorted(missing))} missing")
            return {name: stored[name] for name in stored.files}
    except UNREADABLE as error:
        raise InputError(
            path, f"it cannot be read ({type(error).__name__})", "Delete it and evaluate again."
        ) from error


def _bytes(picture: FloatArray, largest: float) -> npt.NDArray[np.uint8]:
    scaled = np.clip(picture / largest, 0, 1) if largest > 0 else np.zeros_like(picture)
    return np.round(255 * scaled).astype(np.uint8)


def _save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))
