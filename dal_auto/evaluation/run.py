"""Score runs on datasets with lesion masks: predict what is missing, keep what tables need.

Beside the annotated cases each run scores the healthy patients that were held out of its training,
so that lesioned cases can be told from healthy ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from dal_auto.errors import DalError, DiskFull, InputError, UsageError
from dal_auto.evaluation.keeping import RunOnDataset, keep_case
from dal_auto.evaluation.pictures.slices import (
    EMBEDDED,
    SHOWN,
    chosen_cases,
)
from dal_auto.evaluation.pictures.viewed_cases import ViewedCases, shown_runs
from dal_auto.evaluation.run_info import read_run_info
from dal_auto.evaluation.scores import (
    HELD_OUT,
    ScoredImage,
    evaluation_folder,
    is_scored,
    log_path,
    picture_names,
    write_failures,
)
from dal_auto.inference.model import check_atlas
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.preprocessing.same_chain import check_chain
from dal_auto.preprocessing.stored import case_records
from dal_auto.store.atomic import write_json
from dal_auto.store.failures import case_error, case_line
from dal_auto.store.kept import Origin
from dal_auto.store.runs import Run
from dal_auto.store.standard_cases import CaseRecord, healthy_records, read_case
from dal_auto.workers.bars import progress
from dal_auto.workers.progress import Stopwatch

logger = logging.getLogger(__name__)


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
    usable = [
        _usable(run, name, cases, info.plans.sequences)
        for run, info in infos.items()
        for name, cases in datasets.items()
    ]
    if usable and not any(usable):
        failures.append(f"no case of {', '.join(datasets)} has a sequence that a run knows")
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


def _usable(run: Run, dataset: str, records: Sequence[CaseRecord], known: Sequence[str]) -> int:
    """How many cases have a sequence that the model knows; those that have none are told."""
    without = [record for record in records if not set(record.sequences) & set(known)]
    if without:
        there = sorted({name for record in without for name in record.sequences})
        logger.warning(
            "%s, %s: %d of %d cases are not scored: they have %s, and the model knows %s",
            run,
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
    return [r for r in healthy_records(records) if r.case_id in wanted]


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
            for old in (f"{stem}.json", *picture_names(stem)):
                (work.folder / old).unlink(missing_ok=True)
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
