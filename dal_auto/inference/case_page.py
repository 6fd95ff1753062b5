"""The page of one map: its volumes in the viewer, linked to the case's other sequences."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote

from dal_auto import paths
from dal_auto.datasets.registry import is_simulated
from dal_auto.inference.record import ModelNames
from dal_auto.pages.page import VIEWER, write_page
from dal_auto.pages.volumes import ViewerVolumes

#: From voxels of this size on small lesions are lost.
_COARSE_MM = 3.0
#: What fewer steps from nothing come to is no model (docs/quality.md).
_FEW_STEPS = 1000


def viewer_name(case_id: str, sequence: str) -> str:
    """Name of the page of one map."""
    return f"{case_id}_{sequence}_viewer.html"


def write_case_page(
    output: Path,
    case_id: str,
    sequence: str,
    sequences: Collection[str],
    volumes: ViewerVolumes,
    threshold: float,
    model: ModelNames,
    files: Mapping[str, str],
) -> str:
    """Write the page of one map into the folder of all; returns its name.

    Parameters
    ----------
    sequences : all of the case
    files : what each volume is → its file
    """
    name = viewer_name(case_id, sequence)
    write_page(
        output / name,
        "case.html",
        __package__ or "",
        scripts=VIEWER,
        case_id=case_id,
        sequence=sequence,
        others=[(one, quote(viewer_name(case_id, one))) for one in sequences if one != sequence],
        model=model,
        warnings=model_warnings(model),
        files=[(what, quote(file)) for what, file in sorted(files.items())],
        layers=volumes.texts(),
        about=volumes.about([("as in the mask", threshold)]),
    )
    return name


def model_warnings(model: ModelNames) -> list[str]:
    """What the model itself cannot stand for."""
    lines = []
    if is_simulated(model.training_set, paths.raw()):
        lines.append(
            f"The model was trained on {model.training_set}, which is simulated: it has seen no "
            "patient."
        )
    if 0 < model.training_steps < _FEW_STEPS and not model.fine_tuned:
        lines.append(
            f"The model was trained for {model.training_steps} steps only: it shows that the "
            "pipeline runs, not what the method can find."
        )
    elif model.voxel_mm >= _COARSE_MM:
        lines.append(
            f"The model is coarse (voxels of {model.voxel_mm:g} mm): it misses small and faint "
            "lesions."
        )
    return lines
