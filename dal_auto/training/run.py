"""One training run: plans, cohort, fit, threshold, files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from dal_auto.atomic import write_json
from dal_auto.datasets.registry import load_records
from dal_auto.errors import UsageError
from dal_auto.inference.runs import Run, run_of
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, versions
from dal_auto.methods.method import Batch, CohortMethod, GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.preprocessing.planned_run import PlannedRun, Wishes
from dal_auto.preprocessing.planner import Hardware
from dal_auto.preprocessing.run import case_records, folder_of, load_decisions
from dal_auto.preprocessing.run_plans import plan_run
from dal_auto.training.cohort import Cohort, cohort_of, split_by_patient
from dal_auto.training.trainer import Trainer
from dal_auto.training.validation import practical_thresholds

logger = logging.getLogger(__name__)


def plan_training(training_set: str, *, wishes: Wishes, hardware: Hardware) -> PlannedRun:
    """Plans of a run on a preprocessed dataset.

    Raises
    ------
    UsageError
        if the dataset is known to hold lesions, or is not preprocessed.
    """
    record = next((r for r in load_records().values() if r.name == training_set), None)
    if record is not None and record.role == "test":
        raise UsageError(f"{training_set} holds lesions ({record.title}); train on a healthy set")
    return plan_run(
        training_set=training_set,
        preprocessing=load_decisions(training_set).preprocessing,
        records=case_records(training_set),
        hardware=hardware,
        wishes=wishes,
    )


def train(plans: Plans, *, overrides: Mapping[str, Any], seed: int, device: str) -> Run:
    """Train one seed; a complete run is left as it is, an interrupted one goes on.

    Raises
    ------
    UsageError
        if no healthy case has all sequences, or the folder holds a run with other plans.
    """
    run = run_of(plans, overrides, seed)
    _claim(run, plans)
    if run.complete:
        logger.info("%s is complete: nothing to do", run)
        return run
    usable = []
    for record in case_records(plans.training_set):
        missing = set(plans.sequences) - set(record.sequences)
        if missing:
            logger.warning("%s is left out: no %s", record.case_id, ", ".join(sorted(missing)))
        elif record.has_lesion_mask:
            logger.warning("%s is left out: it has a lesion mask", record.case_id)
        else:
            usable.append(record)
    if not usable:
        raise UsageError(
            f"no healthy case of {plans.training_set} has all of {', '.join(plans.sequences)}"
        )
    training_records, validation_records = split_by_patient(
        usable, plans.training.validation_fraction
    )
    folder = folder_of(plans.training_set)
    training = cohort_of(folder, training_records, plans)
    validation = cohort_of(folder, validation_records, plans)
    training.fill_cache()

    torch.manual_seed(seed)
    method = find_method(plans.method.name)(plans)
    if isinstance(method, GradientMethod):
        trainer = Trainer(method, training, validation, seed, device, run.folder)
        trainer.resume()
        trainer.run()
        best = load_checkpoint(trainer.best_path)
    else:
        assert isinstance(method, CohortMethod), f"{method.name} is of no known kind"
        method.fit_cohort(_one_by_one(training))
        best = Checkpoint(plans, method.tensors(), progress={"seed": seed})
    _finish(run, best, training, validation, device)
    return run


def _claim(run: Run, plans: Plans) -> None:
    """Write ``plans.json``, or make sure that the one there is the same."""
    path = run.folder / "plans.json"
    if path.is_file():
        there = Plans.parse(json.loads(path.read_text(encoding="utf-8")))
        old, new = ({key: value for key, value, _ in p.flat()} for p in (there, plans))
        changed = [key for key in new if old.get(key) != new[key]]
        if changed:
            raise UsageError(
                f"{run.folder} holds a run with other plans ({changed[0]} was "
                f"{old.get(changed[0])!r}, is now {new[changed[0]]!r}). Move that folder away, or "
                "preprocess as it was then."
            )
        return  # as it was written, with the sources of then
    write_json(path, plans.to_json())


def _one_by_one(cohort: Cohort) -> Any:
    """Every case once, as batches of one subject."""
    for index in tqdm(range(len(cohort)), desc="fit", unit="case", dynamic_ncols=True):
        batch: Batch = cohort.batch([index])
        yield batch


def _finish(run: Run, best: Checkpoint, training: Cohort, validation: Cohort, device: str) -> None:
    """Find the practical thresholds, write them into the checkpoint, and mark the run complete."""
    calibration = validation if len(validation) else training
    source = f"{len(calibration)} healthy {'validation' if len(validation) else 'TRAINING'} cases"
    logger.info("practical thresholds from %s", source)
    method = best.build(device)
    thresholds = practical_thresholds(method, calibration, device)
    save_checkpoint(
        run.checkpoint_path, replace(best, thresholds=thresholds, threshold_source=source)
    )
    write_json(
        run.folder / "complete.json",
        {
            "step": best.step,
            "thresholds": thresholds,
            "threshold_source": source,
            "training_cases": [record.case_id for record in training.records],
            "validation_cases": [record.case_id for record in validation.records],
            "versions": versions(),
        },
    )
