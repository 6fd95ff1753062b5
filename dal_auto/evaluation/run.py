"""Score runs on datasets with lesion masks: predict what is missing, keep what tables need.

Beside the annotated cases each run scores the healthy patients that were held out of its training,
so that lesioned cases can be told from healthy ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dal_auto.case import STANDARD_VOXEL_ML, BoolArray, StandardCase
from dal_auto.errors import DalError, DiskFull, InputError, UsageError
from dal_auto.evaluation.pictures.slices import (
    EMBEDDED,
    SHOWN,
    chosen_cases,
    keep_slices,
    keep_vectors,
)
from dal_auto.evaluation.pictures.viewed_cases import ViewedCases, shown_runs
from dal_auto.evaluation.run_info import read_run_info
from dal_auto.evaluation.scores import (
    GRID,
    HELD_OUT,
    REGIONS,
    ScoredImage,
    ScoreRecord,
    Similarity,
    VariantScore,
    counts_name,
    evaluation_folder,
    is_scored,
    log_path,
    slices_name,
    vectors_name,
    write_failures,
)
from dal_auto.figures.panels import three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.inference.model import check_atlas
from dal_auto.inference.outputs import panel_volumes
from dal_auto.inference.predictor import Prediction, figure_volumes, predict
from dal_auto.methods.checkpoint import load_checkpoint, threshold_key
from dal_auto.methods.method import Method
from dal_auto.preprocessing.same_chain import check_chain
from dal_auto.preprocessing.stored import case_records
from dal_auto.scoring.anomaly_score import ssim_map
from dal_auto.scoring.lesionwise import false_positives, score_lesions
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.failures import case_error, case_line
from dal_auto.store.kept import Origin
from dal_auto.store.runs import Run
from dal_auto.store.standard_cases import CaseRecord, read_case
from dal_auto.workers.bars import progress
from dal_auto.workers.progress import Stopwatch

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


def evaluate(
    runs: Sequence[Run],
    datasets: Mapping[str, Sequence[CaseRecord]],
    *,
    device: str,
    pictures: bool = True,
) -> list[str]:
    """Score every run on every annotated case; returns the failures, one line each.

    Parameters
    ----------
    datasets : name → standard cases that have a lesion mask
    pictures : False keeps numbers alone

    Raises
    ------
    DiskFull
        if there is no room for a file; what is done by then is kept by the next run.
    """
    failures: list[str] = []
    infos, _ = read_run_info(runs)  # what cannot be read is told below
    shown = shown_runs(infos)
    for run in runs:
        stopped: list[str] = []
        try:
            viewed = pictures and run in shown
            failures += _evaluate_run(run, datasets, device, viewed=viewed, pictures=pictures)
        except DiskFull:  # every further file would fail, too
            raise
        except (DalError, OSError) as error:  # one bad run stops no other
            stopped = [f"{run}: {error}"]
            logger.error(stopped[0])
        write_failures(run.folder / "evaluation", stopped)
        failures += stopped
    return failures


def _evaluate_run(
    run: Run,
    datasets: Mapping[str, Sequence[CaseRecord]],
    device: str,
    *,
    viewed: bool,
    pictures: bool,
) -> list[str]:
    checkpoint = load_checkpoint(run.checkpoint_path)
    check_atlas(checkpoint)
    method, model = checkpoint.build(device), run.checkpoint_sha256()
    failures: list[str] = []
    known = checkpoint.plans.sequences
    if datasets and not any(_usable(name, cases, known) for name, cases in datasets.items()):
        failures.append(f"{run}: no case of {', '.join(datasets)} has {' or '.join(known)}")
    for dataset, records in {**datasets, HELD_OUT: held_out_cases(run)}.items():
        ids = [record.case_id for record in records]
        pictured = ids if pictures else []
        work = RunOnDataset(
            run=run,
            method=method,
            model=model,
            thresholds=checkpoint.thresholds,
            device=device,
            folder=evaluation_folder(run, dataset),
            shown=frozenset() if dataset == HELD_OUT else chosen_cases(pictured, SHOWN),
            embedded=chosen_cases(pictured, EMBEDDED),
            viewed=ViewedCases(run, dataset, ids) if viewed and dataset != HELD_OUT else None,
            drawn=pictures,
        )
        title = f"{run.method} on {run.training_set if dataset == HELD_OUT else dataset}"
        failed: list[str] = []
        if records:
            name = run.training_set if dataset == HELD_OUT else dataset
            try:
                check_chain(name, checkpoint.plans.preprocessing)
            except UsageError as error:
                failures.append(f"{run}, {name}: {error}")
                write_failures(work.folder, failures[-1:])
                continue
        try:
            for record in progress(title, "case", records):
                failed += _score_case(work, record, dataset)
        finally:
            with suppress(DiskFull):  # then it is the disk that is the news
                write_failures(work.folder, failed)
        failures += failed
    return failures


def _usable(dataset: str, records: Sequence[CaseRecord], known: Sequence[str]) -> int:
    """How many cases have a sequence that the model knows; those that have none are told."""
    without = [record for record in records if not set(record.sequences) & set(known)]
    if without:
        there = sorted({name for record in without for name in record.sequences})
        logger.warning(
            "%s: %d of %d cases are not scored: they have %s, and the model knows %s",
            dataset,
            len(without),
            len(records),
            ", ".join(there),
            ", ".join(known),
        )
    return len(records) - len(without)


def held_out_cases(run: Run) -> list[CaseRecord]:
    """Cases of the run's training set that it was not trained on, where they are at hand."""
    try:
        wanted = set(run.record().get("validation_cases", ()))
    except (InputError, TypeError) as error:
        logger.warning("%s: %s; healthy cases are not scored", run, error)
        return []
    try:
        records = case_records(run.training_set) if wanted else []
    except UsageError:
        logger.info("%s: its training set is not here; healthy cases are not scored", run)
        return []
    except InputError as error:
        logger.warning("%s: %s; healthy cases are not scored", run, error)
        return []
    return [r for r in records if r.case_id in wanted and not r.has_lesion_mask]


def _score_case(work: RunOnDataset, record: CaseRecord, dataset: str) -> list[str]:
    """Score the sequences of a case that lack a record; the failure as a line, if there is one."""
    missing = [
        sequence
        for sequence in record.sequences
        if sequence in work.method.plans.sequences
        and not is_scored(
            work.folder,
            f"{record.case_id}_{sequence}",
            Origin(model=work.model, case=record.hash),
        )
    ]
    if not missing:
        return []
    try:
        case = read_case(record)
        for sequence in missing:
            watch = Stopwatch()
            stem = f"{case.case_id}_{sequence}"
            # From here to the end the case is not there: an old record would be trusted.
            (work.folder / f"{stem}.json").unlink(missing_ok=True)
            with watch.step("predict"):
                prediction = predict(work.method, case, sequence, work.device, compare=True)
            with watch.step("keep"):
                scored = keep_case(work, case, sequence, prediction, record.hash)
                if work.viewed:
                    one = ScoredImage(work.run, dataset, work.folder, scored)
                    work.viewed.offer(one, case, prediction)
            seconds = {name: round(value, 3) for name, value in watch.seconds.items()}
            write_json(log_path(work.folder, stem), {"seconds": seconds})
        return []
    except DiskFull:
        raise
    except Exception as error:  # one bad case stops no other
        found = case_error(record.case_id, "scoring", error)
        failure = f"{work.run}, {dataset}, {case_line(record.case_id, found)}"
        logger.error(failure)
        return [failure]


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
    if work.drawn and prediction.pseudo_healthy is not None:
        _draw(work.folder / f"{stem}.png", case, sequence, prediction, work.run.method)
    if case.case_id in work.shown:
        closer = figure_volumes(work.method, case, sequence, work.device)
        keep_slices(work.folder / slices_name(stem), case, prediction, closer)
    if case.case_id in work.embedded:
        keep_vectors(work.folder / vectors_name(stem), prediction)


def _draw(
    path: Path, case: StandardCase, sequence: str, prediction: Prediction, method: str
) -> None:
    """The case's picture, with the anomaly map of the first variant."""
    figure = three_view_panel(
        panel_volumes(prediction, next(iter(prediction.anomaly.values()))),
        spacing_mm=(1.0, 1.0, 1.0),
        mask=case.lesion_mask,
        title=f"{case.case_id} {sequence}: {method}",
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
