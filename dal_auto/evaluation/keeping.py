"""What is kept of one image that a run has scored: counts, pictures, and last its record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dal_auto.case import STANDARD_VOXEL_ML, BoolArray, StandardCase
from dal_auto.errors import DiskFull
from dal_auto.evaluation.pictures.slices import keep_slices, keep_vectors
from dal_auto.evaluation.pictures.viewed_cases import ViewedCases
from dal_auto.evaluation.scores import (
    GRID,
    REGIONS,
    ScoreRecord,
    Similarity,
    VariantScore,
    counts_name,
    picture_name,
    slices_name,
    vectors_name,
)
from dal_auto.figures.panels import three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.inference.outputs import panel_volumes
from dal_auto.inference.predictor import Prediction, figure_volumes
from dal_auto.methods.checkpoint import threshold_key
from dal_auto.methods.method import Method
from dal_auto.scoring.anomaly_score import ssim_map
from dal_auto.scoring.lesionwise import false_positives, score_lesions
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.kept import Origin
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunOnDataset:
    """One run that scores one dataset.

    Parameters
    ----------
    model : hash of the checkpoint
    thresholds : the run's practical thresholds
    shown, embedded : cases of which slices, and vectors, are kept
    viewed : keeps the volumes of the worst and best cases, where the report shows the run's cases
    drawn : keep a picture of each image
    """

    run: Run
    method: Method
    model: str
    thresholds: Mapping[str, float]
    device: str
    folder: Path
    shown: frozenset[str]
    embedded: frozenset[str]
    viewed: ViewedCases | None = None
    drawn: bool = True


def keep_case(
    work: RunOnDataset, case: StandardCase, sequence: str, prediction: Prediction, case_hash: str
) -> ScoreRecord:
    """Write counts, pictures, and last the record that makes them count; returns the record.

    A picture that fails costs no score.
    """
    stem = f"{case.case_id}_{sequence}"
    brain = case.brain_of(sequence)
    lesion = np.zeros_like(brain) if case.lesion_mask is None else case.lesion_mask
    variants: dict[str, VariantScore] = {}
    for variant, score in prediction.anomaly.items():
        counts = {
            region: ScoreCounts.from_volume(score, lesion, within=within)
            for region, within in zip(REGIONS, (None, brain), strict=True)
        }
        for region, found in counts.items():
            found.save(work.folder / counts_name(stem, variant, region))
        threshold = work.thresholds.get(threshold_key(sequence, variant))
        variants[variant] = VariantScore(
            average_precision=average_precision(counts[GRID]) if lesion.any() else None,
            lesions=score_lesions(score, lesion, brain, STANDARD_VOXEL_ML),
            false_positives=None
            if threshold is None
            else false_positives(score, lesion, threshold),
        )
    try:
        _keep_pictures(work, case, sequence, prediction)
    except DiskFull:
        raise
    except Exception as error:
        logger.warning("%s: there are no pictures of it: %s", stem, error)
    inside = brain & lesion
    voxels = int(lesion.sum())
    record = ScoreRecord(
        case=case.case_id,
        patient=case.patient_id,
        sequence=sequence,
        variants=variants,
        lesion_ml=voxels * STANDARD_VOXEL_ML,
        lesion_outside_brain=1 - int(inside.sum()) / voxels if voxels else 0.0,
        error_normal=_error(prediction, brain & ~lesion),
        error_lesion=_error(prediction, inside),
        similarity=None if voxels else _similarity(work, prediction, brain),
        made_from=Origin(model=work.model, case=case_hash),
    )
    record.write(work.folder / f"{stem}.json")
    return record


def _keep_pictures(
    work: RunOnDataset, case: StandardCase, sequence: str, prediction: Prediction
) -> None:
    """What figures are made of."""
    stem = f"{case.case_id}_{sequence}"
    if work.drawn:
        _draw(work.folder / picture_name(stem), case, sequence, prediction, work.run.method)
    if case.case_id in work.shown:
        closer = figure_volumes(work.method, case, sequence, work.device)
        keep_slices(work.folder / slices_name(stem), case, prediction, closer)
    if case.case_id in work.embedded:
        keep_vectors(work.folder / vectors_name(stem), prediction)


def _draw(
    path: Path, case: StandardCase, sequence: str, prediction: Prediction, method: str
) -> None:
    """The case's picture, with the anomaly map of the first variant, which it names."""
    variant, anomaly = next(iter(prediction.anomaly.items()))
    of_variant = f" ({variant})" if variant else ""
    figure = three_view_panel(
        panel_volumes(prediction, anomaly),
        spacing_mm=(1.0, 1.0, 1.0),
        mask=case.lesion_mask,
        title=f"{case.case_id} {sequence}: {method}{of_variant}",
    )
    save_png(figure, path)


def _error(prediction: Prediction, where: BoolArray) -> float | None:
    """Mean |x − x_r| over voxels (l1-RE of Table 4); None where there is nothing to compare."""
    if prediction.pseudo_healthy is None or not where.any():
        return None
    return float(np.abs(prediction.image - prediction.pseudo_healthy)[where].mean())


def _similarity(work: RunOnDataset, prediction: Prediction, brain: BoolArray) -> Similarity | None:
    """Of a healthy image and its restoration; None where the method restores nothing."""
    if prediction.pseudo_healthy is None:
        return None
    images = (prediction.image, prediction.pseudo_healthy)
    sigma = work.method.plans.scoring.ssim_sigma_voxels
    image, restored = (torch.from_numpy(array).to(work.device) for array in images)
    similarity = ssim_map(image, restored, sigma_voxels=sigma).cpu().numpy()
    return Similarity(grid=float(similarity.mean()), brain=float(similarity[brain].mean()))
