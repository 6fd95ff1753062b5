"""What the report's viewer shows of a case: four volumes, cropped, in 8 bits.

A page that is opened from disk may fetch nothing, so the volumes lie inside it. They are encoded
once, here, in the form in which the page holds them: every level is written as its difference from
the voxel before it, and deflated, which a browser undoes in a few lines. The file is a ``.npz``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dal_auto.case import FloatArray, StandardCase
from dal_auto.errors import InputError
from dal_auto.evaluation.kept import Kept, Origin
from dal_auto.figures.panels import view_point
from dal_auto.inference.predictor import Prediction
from dal_auto.scoring.pooled_curve import UNREADABLE
from dal_auto.store.atomic import replacing
from dal_auto.volumes import box_around, whole

INPUT, HEALTHY, ANOMALY, LESION = "input", "pseudo-healthy", "anomaly", "lesion"
_LAYERS = (INPUT, HEALTHY, ANOMALY, LESION)
_LEVELS = 255
_MARGIN = 2  # voxels around brain and lesion

ByteArray = npt.NDArray[np.uint8]


class Volumes(Kept):
    """Volumes of one case, sequence and method, axes LPS, voxels of 1 mm.

    Parameters
    ----------
    shape : of the box around brain and lesion, (x, y, z)
    origin : the box's first voxel, on the standard grid
    start : voxel of the box that the viewer shows first: the largest lesion's middle
    highest : anomaly score of the level 255
    layers : name → encoded levels: of "input" and, where there is one, "pseudo-healthy" 255 × the
        value in [0, 1]; of "anomaly" 255 × √(score / highest), so that low thresholds are still
        told apart; of "lesion" 0 or 1
    made_from : checkpoint and standard case
    """

    shape: tuple[int, int, int]
    origin: tuple[int, int, int]
    start: tuple[int, int, int]
    highest: float
    layers: dict[str, bytes]
    made_from: Origin

    def levels(self, layer: str) -> ByteArray:
        """(x, y, z) levels of a layer."""
        changes = np.frombuffer(zlib.decompress(self.layers[layer]), np.uint8)
        return np.cumsum(changes, dtype=np.uint8).reshape(self.shape, order="F")


def take_volumes(
    case: StandardCase, prediction: Prediction, variant: str, made_from: Origin
) -> Volumes:
    """Crop and encode what a method made of one sequence of `case`."""
    brain, lesion = case.brain_mask, case.lesion_mask
    if lesion is None:
        lesion = np.zeros_like(brain)
    score = prediction.anomaly[variant]
    box = box_around(brain | lesion, _MARGIN) or whole(brain.shape)
    highest = float(score[box].max())
    levels = {
        INPUT: _bytes(prediction.image[box]),
        ANOMALY: _bytes(np.sqrt(score[box] / highest) if highest > 0 else score[box]),
        LESION: lesion[box].astype(np.uint8),
    }
    if prediction.pseudo_healthy is not None:
        levels[HEALTHY] = _bytes(prediction.pseudo_healthy[box])
    return Volumes(
        shape=_three(levels[INPUT].shape),
        origin=_three([one.start for one in box]),
        start=view_point(lesion[box], score[box], brain[box]),
        highest=highest,
        layers={name: _encoded(levels[name]) for name in _LAYERS if name in levels},
        made_from=made_from,
    )


def write_volumes(path: Path, volumes: Volumes) -> None:
    """Write `volumes`, whole or not at all."""
    arrays = {name: np.frombuffer(content, np.uint8) for name, content in volumes.layers.items()}
    header = np.array(volumes.model_dump_json(exclude={"layers"}))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, header=header, **arrays)


def read_volumes(path: Path) -> Volumes:
    """Read what `write_volumes` wrote; the layers stay encoded.

    Raises
    ------
    InputError
        if the file is missing, damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            layers = {n: stored[n].tobytes() for n in _LAYERS if n in stored.files}
            return Volumes.model_validate({**json.loads(str(stored["header"])), "layers": layers})
    except UNREADABLE as error:
        raise InputError(
            path, f"it holds no volumes ({type(error).__name__})", "Delete it and evaluate again."
        ) from error


def _three(numbers: Iterable[int]) -> tuple[int, int, int]:
    x, y, z = (int(number) for number in numbers)
    return x, y, z


def _bytes(values: FloatArray) -> ByteArray:
    return np.round(_LEVELS * np.clip(values, 0, 1)).astype(np.uint8)


def _encoded(levels: ByteArray) -> bytes:
    """Differences along x, the axis that runs fastest; modulo 256, so that none needs a sign."""
    flat = levels.ravel(order="F")
    return zlib.compress(np.diff(flat, prepend=np.uint8(0)).tobytes(), 6)
