"""One training run: plans, cohort, fit, threshold, files."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from dal_auto import distributed, paths
from dal_auto.datasets.drawn import is_drawn
from dal_auto.datasets.registry import record_of
from dal_auto.errors import UsageError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, versions
from dal_auto.methods.method import Batch, CohortMethod, GradientMethod, Illustrated, Method
from dal_auto.methods.registry import find_method
from dal_auto.planning.advice import advice_on_memory
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.training_plans import plan_run
from dal_auto.planning.wishes import PlannedRun, Wishes
from dal_auto.plans import Plans, stored_plans
from dal_auto.preprocessing.stored import case_records, folder_of, load_decisions
from dal_auto.store.atomic import write_json
from dal_auto.store.claim import claimed
from dal_auto.store.runs import Run, run_of
from dal_auto.store.standard_cases import CaseRecord, healthy_records
from dal_auto.training.calibration import HealthyCases, calibration_records, practical_thresholds
from dal_auto.training.cohort import Cohort, cohort_of, split_by_patient
from dal_auto.training.drawn.dataset import drawn_cohort
from dal_auto.training.pretrained import pretrained_model, say_what_is_new, weights_taken_over
from dal_auto.training.selection import choose_selection
from dal_auto.training.trainer import Trainer
from dal_auto.workers.bars import progress

logger = logging.getLogger(__name__)

#: Enough for what only figures want.
_FIGURE_CASES = 16


def plan_training(training_set: str, *, wishes: Wishes, hardware: Hardware) -> PlannedRun:
    """Plans of a run on a preprocessed dataset.

    Raises
    ------
    UsageError
        if the dataset is known to hold lesions, or is not preprocessed.
    """
    record = record_of(training_set, paths.raw())
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

    Of several processes (``torchrun``) each calls this; the first one alone writes files.

    Raises
    ------
    UsageError
        if no healthy case has one of the sequences, the folder holds a run with other plans, or
        another process trains this run.
    InputError
        if the folder cannot be written to.
    OutOfMemory
        if the device's memory does not suffice; the message names what would fit.
    """
    run, first = run_of(plans, overrides, seed), distributed.rank() == 0
    if first:
        _require_same_plans(run, plans)
    distributed.barrier()
    if run.complete:
        logger.info("%s is complete: nothing to do", run)
        return run
    remedy = "Name another folder with DAL_RESULTS."
    with claimed(run.folder, remedy) if first else nullcontext():
        _train(run, plans, seed, device, first)
    return run


def _train(run: Run, plans: Plans, seed: int, device: str, first: bool) -> None:
    """As `train`; `first` is the process that writes files."""
    if first and not run.begun:
        _require_start(plans)
    path = run.folder / "plans.json"
    if first and not (run.begun and path.is_file()):
        write_json(path, plans.to_json())  # else it stays, with the sources of then
    distributed.barrier()
    training_records, validation_records = split_by_patient(
        _usable(plans), plans.training.validation_fraction
    )
    folder = folder_of(plans.training_set)
    training = cohort_of(folder, training_records, plans)
    validation = cohort_of(folder, validation_records, plans)
    drawn = drawn_cohort(plans, {record.patient_id for record in training_records})

    torch.manual_seed(seed)
    method = find_method(plans.method.name)(plans)
    method.require_files()
    selection = None
    if isinstance(method, GradientMethod):
        selection = choose_selection(plans, validation)
    if first:
        for cohort in (training, *([selection.cohort] if selection else [])):
            cohort.fill_cache()
        if drawn is not None:
            drawn.pool.fill()
    distributed.barrier()
    if isinstance(method, GradientMethod):
        trainer = Trainer(method, training, validation, seed, device, run.folder, selection, drawn)
        chosen = "the last" if trainer.judge is None else f"chosen by {trainer.judge}"
        logger.info("the best weights are %s", chosen)
        with advice_on_memory(plans, device):
            if not trainer.resume():
                trainer.begin(pretrained_model(plans))
            trainer.run()
        if not first:
            return
        best = load_checkpoint(trainer.best_path)
    else:
        assert isinstance(method, CohortMethod), f"{method.name} is of no known kind"
        if not first:
            return  # one pass over the cohort is not worth sharing
        method.to(device)
        if drawn is not None:
            method.learn_atlas(drawn.pool.tissue_fractions().to(device))
        method.fit_cohort(batch.to(device) for batch in _one_by_one(training))
        best = Checkpoint(plans, method.tensors(), progress={"seed": seed})
    with distributed.solo():
        _finish(run, best, training, validation, device)


def _usable(plans: Plans) -> list[CaseRecord]:
    """Healthy cases with one of the sequences at least."""
    usable, lacking = [], Counter[str]()
    records = case_records(plans.training_set)
    well = {record.case_id for record in healthy_records(records)}
    for record in records:
        missing = [name for name in plans.sequences if name not in record.sequences]
        if record.case_id not in well:
            whose = "it" if record.has_lesion_mask else "another case of the patient"
            logger.warning("%s is left out: %s has a lesion mask", record.case_id, whose)
        elif len(missing) == len(plans.sequences):
            logger.warning("%s is left out: no %s", record.case_id, " or ".join(missing))
        else:
            usable.append(record)
            lacking.update(missing)
    if not usable:
        raise UsageError(
            f"no healthy case of {plans.training_set} has one of {', '.join(plans.sequences)}"
        )
    if nowhere := [name for name in plans.sequences if lacking[name] == len(usable)]:
        raise UsageError(
            f"no healthy case of {plans.training_set} has {', '.join(nowhere)}. Leave it out: "
            f"--sequences {' '.join(name for name in plans.sequences if name not in nowhere)}"
        )
    for name, count in sorted(lacking.items()):
        logger.info("%d of %d cases have no %s: they train what they can", count, len(usable), name)
    return usable


def _require_start(plans: Plans) -> None:
    """See that the weights to start from fit, before anything is written."""
    if (pretrained := pretrained_model(plans)) is not None:
        method = find_method(plans.method.name)(plans)
        weights_taken_over(method, pretrained, on_drawn=is_drawn(plans.training_set))
        say_what_is_new(plans, pretrained)


def _require_same_plans(run: Run, plans: Plans) -> None:
    """See that ``plans.json``, where there is one, is the same."""
    path = run.folder / "plans.json"
    # Plans alone, of an attempt that failed before its first step, bind nobody.
    if path.is_file() and run.begun:
        there = stored_plans(json.loads(path.read_text(encoding="utf-8")))
        old, new = ({key: value for key, value, _ in p.flat()} for p in (there, plans))
        changed = [key for key in new if old.get(key) != new[key]]
        if changed:
            chain = changed[0].startswith(("preprocessing.", "intensity."))
            remedy = "preprocess as it was then" if chain else f"go on with --plans {path}"
            raise UsageError(
                f"{run.folder} holds a run with other plans ({changed[0]} was "
                f"{old.get(changed[0])!r}, is now {new[changed[0]]!r}). Move that folder away, or "
                f"{remedy}."
            )


def _one_by_one(cohort: Cohort) -> Any:
    """Every case once, as batches of one subject."""
    for index in progress("fit", "case", range(len(cohort))):
        batch: Batch = cohort.batch([index])
        yield batch


def calibration_cases(
    method: Method, training: Cohort, validation: Cohort
) -> tuple[list[HealthyCases], str]:
    """Healthy cases for the practical thresholds, and what they are, in words.

    Training cases stand in for the sequences alone that no validation case has: on what a model was
    trained on its scores are lower.
    """
    plans = training.plans
    if is_drawn(plans.training_set) and isinstance(method, GradientMethod):
        # It was trained on images that are drawn at each step, and not on those that are stored.
        # Other methods are fitted to the stored ones: for them only those left out are new.
        records = calibration_records([*validation.records, *training.records], plans.sequences)
        others = sum(record in validation.records for record in records)
        words = f"{len(records)} healthy drawn cases, {others} of them of other heads"
        return [HealthyCases(records, drawn=True)], words
    drawn = is_drawn(plans.training_set)
    new = calibration_records(validation.records, plans.sequences)
    known = {name for record in new for name in record.sequences}
    lacking = [name for name in plans.sequences if name not in known]
    trained = calibration_records(training.records, lacking)
    groups, parts = [], []
    if new:
        groups.append(HealthyCases(new, drawn))
        parts.append(f"{len(new)} healthy validation cases")
    if trained:
        groups.append(HealthyCases(trained, drawn, only=lacking))
        which = f" (of {', '.join(lacking)})" if new else ""
        parts.append(f"{len(trained)} healthy TRAINING cases{which}")
    return groups, " and ".join(parts)


def _finish(run: Run, best: Checkpoint, training: Cohort, validation: Cohort, device: str) -> None:
    """Find the practical thresholds, write them into the checkpoint, and mark the run complete."""
    method = best.build(device)
    healthy, source = calibration_cases(method, training, validation)
    records = [record for group in healthy for record in group.records]
    calibration = cohort_of(folder_of(best.plans.training_set), records, best.plans)
    logger.info("practical thresholds from %s", source)
    method.calibrate(calibration.batch([index]).to(device) for index in range(len(calibration)))
    best = replace(best, tensors=method.tensors())
    thresholds = practical_thresholds(method, healthy, device)
    some = range(min(len(training), _FIGURE_CASES))
    figures = {}
    if isinstance(method, Illustrated):
        figures = method.fit_figures(training.batch([index]).to(device) for index in some)
    finished = replace(
        best,
        thresholds=thresholds.scores,
        joint_thresholds=thresholds.joint,
        joint_trust=thresholds.joint_trust,
        threshold_source=source,
        figures=figures,
    )
    save_checkpoint(run.checkpoint_path, finished)
    write_json(
        run.folder / "complete.json",
        {
            "step": best.step,
            "thresholds": thresholds.scores,
            "joint_thresholds": thresholds.joint,
            "threshold_source": source,
            "training_cases": [record.case_id for record in training.records],
            "validation_cases": [record.case_id for record in validation.records],
            "selection_cases": sorted(best.progress.get("selection_cases", ())),
            "processes": best.progress.get("processes", 1),
            "versions": versions(),
        },
    )
