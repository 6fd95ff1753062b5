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
from dal_auto.store.model_files import SHIPPED

DEMO = "demo"  # a configuration


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
    if model.run == SHIPPED:
        return [
            "The model in the package is small and coarse (4 mm), and was trained on drawn heads "
            "only: it misses small and faint lesions."
        ]
    lines = []
    if is_simulated(model.training_set, paths.raw()):
        lines.append(
            f"The model was trained on {model.training_set}, which is simulated: it has seen no "
            "patient."
        )
    if model.configuration == DEMO:
        lines.append(
            f"The model is demo-sized (configuration “{DEMO}”): it shows that the pipeline runs, "
            "not what the method can find."
        )
    return lines
