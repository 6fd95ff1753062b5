"""What is written for one case: maps in native space, pictures, and last its record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dal_auto import __version__
from dal_auto.case import FloatArray, Grid, RawCase
from dal_auto.errors import CaseFailed
from dal_auto.figures.panels import Volume
from dal_auto.images import write_image
from dal_auto.inference.export import standard_grid, to_native
from dal_auto.inference.measure import components
from dal_auto.inference.model import Model
from dal_auto.inference.picture import draw_map
from dal_auto.inference.predictor import Prediction
from dal_auto.inference.prepare import Prepared
from dal_auto.inference.request import FORMAT, digests, read_record, record_path
from dal_auto.inference.sidecar import sidecar
from dal_auto.preprocessing.quality.pictures import flags
from dal_auto.scoring.pooled_curve import rounded
from dal_auto.store.atomic import write_json

_ATLAS = "_space-atlas"
_NAMES = ("anomaly", "mask", "pseudo-healthy", "anatomy")


@dataclass(frozen=True, eq=False)
class Export:
    """One case, ready to be written.

    Parameters
    ----------
    predictions : by sequence
    seconds : by step, so far; writing adds its own
    """

    model: Model
    raw: RawCase
    prepared: Prepared
    predictions: Mapping[str, Prediction]
    output: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """As `Stopwatch.step`, which is for the one task of a process and not for threads."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def write_outputs(export: Export) -> None:
    """Write all of a case. What an earlier run left of it and this one did not write is removed.

    Raises
    ------
    DiskFull
        if there is no room for a file.
    CaseFailed
        if the scores are no numbers, or negative.
    """
    raw, output, model = export.raw, export.output, export.model
    case_id, old = raw.case_id, read_record(output, raw.case_id)
    # From here to the end the case is not there: an old record would be trusted.
    record_path(output, case_id).unlink(missing_ok=True)
    written: set[str] = set()
    rows, found = [], []
    for sequence, prediction in export.predictions.items():
        row, lesions, names = _write_sequence(export, sequence, prediction)
        rows.append(row)
        found += [{"case": case_id, "sequence": sequence, **lesion} for lesion in lesions]
        written |= names
    for name in {*_possible(case_id, raw.sequences), *(old or {}).get("files", ())} - written:
        (output / name).unlink(missing_ok=True)
    with export.timed("hash of the outputs"):
        files = digests(output, written)
    prepared = export.prepared
    write_json(
        output / "logs" / f"{case_id}.json",
        {
            "seconds": {name: round(value, 3) for name, value in export.seconds.items()},
            "steps": list(prepared.case.steps),
            "warnings": list(prepared.warnings),
            "flags": flags(prepared.case.quality),
            "device": model.device,
        },
    )
    write_json(
        record_path(output, case_id),
        {
            "format": FORMAT,
            "case": case_id,
            "hash": prepared.hash,
            "tools": list(prepared.tools),
            "steps": prepared.steps.model_dump(mode="json"),
            "done": list(prepared.case.steps),
            "model": model.names() | {"threshold_source": model.threshold_source},
            "warnings": list(prepared.warnings),
            "flags": flags(prepared.case.quality),
            "quality": dict(prepared.case.quality),
            "rows": rows,
            "components": found,
            "files": files,
        },
    )


def _possible(case_id: str, sequences: Mapping[str, Path]) -> Iterator[str]:
    for sequence in sequences:
        for name in _NAMES:
            yield f"{case_id}_{sequence}_{name}.nii.gz"
            yield f"{case_id}_{sequence}_{name}{_ATLAS}.nii.gz"


def _write_sequence(
    export: Export, sequence: str, prediction: Prediction
) -> tuple[dict[str, Any], list[dict[str, Any]], set[str]]:
    """Maps, sidecar and picture of one sequence: its row, its components, the names of files."""
    model, prepared, output = export.model, export.prepared, export.output
    case, plans, save = prepared.case, model.plans, model.request.save
    variant, anomaly = next(iter(prediction.anomaly.items()))
    cut, stem = model.threshold(sequence, variant), f"{case.case_id}_{sequence}"
    native, standard = case.geometry.native[sequence], standard_grid(plans)
    like, names = export.raw.sequences[sequence], set[str]()

    def write(name: str, volume: np.ndarray, grid: Grid, header: Path | None) -> None:
        file, what = f"{stem}_{name}.nii.gz", name.removesuffix(_ATLAS)
        # The threshold is middle grey, in every map of a run.
        window = (0.0, 2 * cut if what == "anomaly" else 1.0)
        description = f"dal_auto {__version__} {plans.method.name} {sequence} {what}"
        with export.timed("write"):
            write_image(output / file, volume, grid, header, window=window, description=description)
        names.add(file)

    with export.timed("export"):
        score = _stored(case.case_id, to_native(anomaly, case.geometry, sequence, plans))
    mask = score >= cut
    write("anomaly", score, native, like)
    write("mask", mask, native, like)
    atlas_score = _stored(case.case_id, anomaly)
    others = {"pseudo-healthy": prediction.pseudo_healthy, "anatomy": _anatomy(prediction)}
    chosen = {name: v for name, v in others.items() if name in save and v is not None}
    for name, volume in chosen.items():
        with export.timed("export"):
            moved = to_native(volume, case.geometry, sequence, plans)
        write(name, _stored(case.case_id, moved), native, like)
    if "atlas-space" in save:
        write(f"anomaly{_ATLAS}", atlas_score, standard, None)
        write(f"mask{_ATLAS}", atlas_score >= cut, standard, None)
        for name, volume in chosen.items():
            write(f"{name}{_ATLAS}", _stored(case.case_id, volume), standard, None)
    beside = f"{stem}_anomaly.json"
    write_json(output / beside, sidecar(model, export.raw, prepared, sequence, variant))
    with export.timed("components"):
        lesions = components(mask, score, native)
    volume_ml = round(float(np.count_nonzero(mask)) * native.voxel_ml, 4)
    with export.timed("picture"):
        draw_map(
            output / f"{stem}.png",
            f"{case.case_id} {sequence}: {volume_ml:.2f} ml with a score of {cut:.4g} or more",
            image=prediction.image,
            pseudo_healthy=prediction.pseudo_healthy,
            score=anomaly,
            mask=atlas_score >= cut,
        )
    row = {
        "case": case.case_id,
        "sequence": sequence,
        "threshold": cut,
        "anomaly_ml": volume_ml,
        "components": len(lesions),
        "largest_component_ml": lesions[0]["ml"] if lesions else 0.0,
        "maximum_score": float(score.max()),
        "mean_score": round(float(anomaly[case.brain_mask].mean()), 6),
        "run": str(model.run),
    }
    return row, lesions, {*names, beside, f"{stem}.png"}


def _stored(case_id: str, volume: FloatArray) -> FloatArray:
    """Values as they are stored: rounded to float16, for which NIfTI has no type, in float32.

    A mask made of the file is then that which the metrics count, and the file is a third smaller.
    """
    try:
        return rounded(volume).astype(np.float32)
    except ValueError as error:
        raise CaseFailed(case_id, "export", str(error)) from error


def _anatomy(prediction: Prediction) -> FloatArray | None:
    return prediction.extras.get("anatomy")


def panel_volumes(prediction: Prediction, anomaly: np.ndarray) -> list[Volume]:
    """The rows of a panel that shows all that a method made of an image."""
    volumes = [Volume("input", prediction.image, "image", 1.0)]
    if prediction.pseudo_healthy is not None:
        volumes.append(Volume("pseudo-healthy", prediction.pseudo_healthy, "image", 1.0))
    for name, extra in prediction.extras.items():
        volumes.append(Volume(name, extra, "image", 1.0))
    volumes.append(Volume("anomaly map", anomaly, "score", None))
    return volumes
