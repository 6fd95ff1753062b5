"""What is written for one sequence of one case: maps in native space, a picture, a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from dal_auto.case import RawCase, StandardCase
from dal_auto.figures.panels import Volume, three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.inference.export import standard_grid, to_native
from dal_auto.inference.predictor import Prediction, predict
from dal_auto.methods.checkpoint import Checkpoint, threshold_key
from dal_auto.methods.method import Method
from dal_auto.nifti import write_image
from dal_auto.preprocessing.quality import flags
from dal_auto.stopwatch import Stopwatch


def write_outputs(
    method: Method,
    checkpoint: Checkpoint,
    raw: RawCase,
    case: StandardCase,
    sequence: str,
    output: Path,
    *,
    device: str,
    save: frozenset[str],
    threshold: float | None,
    watch: Stopwatch,
) -> dict[str, Any]:
    """One sequence of one case: predict, export, draw; returns its row of the table."""
    with watch.step("network, score and filters"):
        prediction = predict(method, case, sequence, device)
    variant = next(iter(prediction.anomaly))
    anomaly = prediction.anomaly[variant]
    key = threshold_key(sequence, variant)
    cut = checkpoint.thresholds[key] if threshold is None else threshold
    stem, plans = f"{case.case_id}_{sequence}", checkpoint.plans
    native = case.geometry.native[sequence]
    with watch.step("export"):
        native_anomaly = to_native(anomaly, case.geometry, sequence, plans)
        mask = native_anomaly >= cut
        volumes = {"anomaly": native_anomaly, "mask": mask}
        if "pseudo-healthy" in save and prediction.pseudo_healthy is not None:
            volumes["pseudo-healthy"] = to_native(
                prediction.pseudo_healthy, case.geometry, sequence, plans
            )
        for name, volume in volumes.items():
            path = output / f"{stem}_{name}.nii.gz"
            write_image(path, volume, native, like=raw.sequences[sequence])
        if "atlas-space" in save:
            path = output / f"{stem}_anomaly_space-atlas.nii.gz"
            write_image(path, anomaly, standard_grid(plans))
    with watch.step("picture"):
        save_png(
            three_view_panel(
                panel_volumes(prediction, anomaly),
                spacing_mm=(1.0, 1.0, 1.0),
                mask=None,
                title=f"{case.case_id} {sequence}",
            ),
            output / f"{stem}.png",
        )
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(components.ravel())[1:] if count else np.zeros(1)
    return {
        "case": case.case_id,
        "sequence": sequence,
        "threshold": cut,
        "anomaly_ml": round(float(mask.sum()) * native.voxel_ml, 4),
        "components": int(count),
        "largest_component_ml": round(float(sizes.max()) * native.voxel_ml, 4),
        "maximum_score": float(anomaly.max()),
        "mean_score": float(anomaly[case.brain_mask].mean()),
        "flags": "; ".join(flags(case.quality)),
    }


def panel_volumes(prediction: Prediction, anomaly: np.ndarray) -> list[Volume]:
    """The rows of a case's picture."""
    volumes = [Volume("input", prediction.image, "image", 1.0)]
    if prediction.pseudo_healthy is not None:
        volumes.append(Volume("pseudo-healthy", prediction.pseudo_healthy, "image", 1.0))
    for name, extra in prediction.extras.items():
        volumes.append(Volume(name, extra, "image", 1.0))
    volumes.append(Volume("anomaly map", anomaly, "score", None))
    return volumes
