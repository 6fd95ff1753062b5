"""Volumes of the cases that the report's viewer shows, as they are kept: a ``.npz`` each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dal_auto.case import StandardCase
from dal_auto.errors import InputError
from dal_auto.inference.predictor import Prediction
from dal_auto.pages.volumes import LAYERS, ViewerVolumes, viewer_volumes
from dal_auto.scoring.pooled_curve import UNREADABLE
from dal_auto.store.atomic import replacing
from dal_auto.store.kept import Origin


class Volumes(ViewerVolumes):
    """What the viewer shows of a scored case; `made_from` says of which checkpoint and case."""

    made_from: Origin


def take_volumes(
    case: StandardCase, prediction: Prediction, variant: str, made_from: Origin
) -> Volumes:
    """Crop and encode what a method made of one sequence of `case`."""
    lesion = case.lesion_mask
    shown = viewer_volumes(
        prediction.image,
        prediction.anomaly[variant],
        case.brain_mask,
        pseudo_healthy=prediction.pseudo_healthy,
        lesion=np.zeros_like(case.brain_mask) if lesion is None else lesion,
    )
    return Volumes(**dict(shown), made_from=made_from)


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
            layers = {n: stored[n].tobytes() for n in LAYERS if n in stored.files}
            return Volumes.model_validate({**json.loads(str(stored["header"])), "layers": layers})
    except UNREADABLE as error:
        raise InputError(
            path, f"it holds no volumes ({type(error).__name__})", "Delete it and evaluate again."
        ) from error
