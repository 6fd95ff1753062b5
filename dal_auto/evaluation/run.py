"""Score runs on datasets with lesion masks: predict what is missing, keep counts per case.

What is kept of a case is small (`ScoreCounts`, a few figures, a picture), enough for every metric,
and additive. It lies with the run: ``<run>/evaluation/<dataset>/``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dal_auto.atomic import write_json
from dal_auto.case import BoolArray, StandardCase
from dal_auto.errors import DalError
from dal_auto.figures.panels import three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.inference.outputs import panel_volumes
from dal_auto.inference.predictor import Prediction, predict
from dal_auto.inference.run import check_atlas
from dal_auto.inference.runs import Run
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.standard_files import CaseRecord, read_case

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """One case, one sequence, one run, as it lies on disk.

    Parameters
    ----------
    folder : ``<run>/evaluation/<dataset>``
    content : figures, and what the counts of each variant are called
    """

    run: Run
    dataset: str
    folder: Path
    content: dict[str, Any]

    @property
    def case_id(self) -> str:
        return str(self.content["case"])

    @property
    def sequence(self) -> str:
        return str(self.content["sequence"])

    def method(self, variant: str) -> str:
        """The method's name, with the variant where it has several."""
        return f"{self.run.method} ({variant})" if variant else self.run.method

    @property
    def variants(self) -> list[str]:
        return list(self.content["variants"])

    @property
    def picture(self) -> Path | None:
        path = self.folder / f"{self._stem}.png"
        return path if path.is_file() else None

    @property
    def _stem(self) -> str:
        return f"{self.case_id}_{self.sequence}"

    def counts(self, variant: str, region: str) -> ScoreCounts:
        """Score counts of a variant, over the whole "grid" or the "brain" only."""
        return ScoreCounts.load(self.folder / counts_name(self._stem, variant, region))


def counts_name(stem: str, variant: str, region: str) -> str:
    return "_".join([stem, *([variant] if variant else []), region]) + ".npz"


def evaluation_folder(run: Run, dataset: str) -> Path:
    return run.folder / "evaluation" / dataset


def evaluate(
    runs: Sequence[Run], datasets: dict[str, list[CaseRecord]], *, device: str
) -> list[str]:
    """Score every run on every annotated case; returns the failures, one line each.

    Parameters
    ----------
    datasets : name → standard cases that have a lesion mask
    """
    failures: list[str] = []
    for run in runs:
        checkpoint = run.load()
        check_atlas(checkpoint)
        method = checkpoint.build(device)
        model = run.checkpoint_sha256()
        for dataset, records in datasets.items():
            folder = evaluation_folder(run, dataset)
            for record in tqdm(
                records, desc=f"{run.method} on {dataset}", unit="case", dynamic_ncols=True
            ):
                wanted = [s for s in record.sequences if s in checkpoint.plans.sequences]
                missing = [s for s in wanted if not _is_scored(folder, record, s, model)]
                if not missing:
                    continue
                try:
                    case = read_case(record)
                    for sequence in missing:
                        prediction = predict(method, case, sequence, device)
                        _keep(
                            folder, case, sequence, prediction, f"{run.method}", model, record.hash
                        )
                except DalError as error:
                    failures.append(f"{run}, {dataset}, case {record.case_id}: {error}")
                    logger.error(failures[-1])
    return failures


def _is_scored(folder: Path, record: CaseRecord, sequence: str, model: str) -> bool:
    path = folder / f"{record.case_id}_{sequence}.json"
    if not path.is_file():
        return False
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["model"] == model and content["case_hash"] == record.hash


def _keep(
    folder: Path,
    case: StandardCase,
    sequence: str,
    prediction: Prediction,
    method: str,
    model: str,
    case_hash: str,
) -> None:
    """Write counts, picture, and last the record that makes them count."""
    assert case.lesion_mask is not None, "only annotated cases are scored"
    stem = f"{case.case_id}_{sequence}"
    for variant, score in prediction.anomaly.items():
        for region, within in (("grid", None), ("brain", case.brain_mask)):
            counts = ScoreCounts.from_volume(score, case.lesion_mask, within=within)
            counts.save(folder / counts_name(stem, variant, region))
    if prediction.pseudo_healthy is not None:
        anomaly = next(iter(prediction.anomaly.values()))
        figure = three_view_panel(
            panel_volumes(prediction, anomaly),
            spacing_mm=(1.0, 1.0, 1.0),
            mask=case.lesion_mask,
            title=f"{case.case_id} {sequence}: {method}",
        )
        save_png(figure, folder / f"{stem}.png")
    inside = case.brain_mask & case.lesion_mask
    lesion_voxels = int(case.lesion_mask.sum())
    write_json(
        folder / f"{stem}.json",
        {
            "case": case.case_id,
            "patient": case.patient_id,
            "sequence": sequence,
            "variants": list(prediction.anomaly),
            "lesion_ml": lesion_voxels / 1000,
            "lesion_outside_brain": 1 - int(inside.sum()) / lesion_voxels if lesion_voxels else 0.0,
            "error_normal": _error(prediction, case.brain_mask & ~case.lesion_mask),
            "error_lesion": _error(prediction, inside),
            "model": model,
            "case_hash": case_hash,
        },
    )


def _error(prediction: Prediction, where: BoolArray) -> float | None:
    """Mean |x − x_r| over voxels (l1-RE of Table 4); None where there is nothing to compare."""
    if prediction.pseudo_healthy is None or not where.any():
        return None
    return float(np.abs(prediction.image - prediction.pseudo_healthy)[where].mean())


def read_scored(runs: Sequence[Run], datasets: Sequence[str]) -> list[Scored]:
    """Everything that `evaluate` kept of these runs and datasets."""
    return [
        Scored(run, dataset, path.parent, json.loads(path.read_text(encoding="utf-8")))
        for run in runs
        for dataset in datasets
        for path in sorted(evaluation_folder(run, dataset).glob("[!.]*.json"))
    ]
