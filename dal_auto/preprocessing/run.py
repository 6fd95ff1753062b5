"""A dataset through the chain: in parallel, resumable, and no failing case stops another."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dal_auto import paths
from dal_auto.atomic import write_json, write_text
from dal_auto.case import RawCase
from dal_auto.datasets.registry import Dataset
from dal_auto.errors import DalError, InputError, UsageError, case_line
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise, tool_versions
from dal_auto.preprocessing.fingerprint import fingerprint_dataset
from dal_auto.preprocessing.planner import CaseSteps, DatasetDecisions, decide_dataset
from dal_auto.preprocessing.quality import flags, write_quality
from dal_auto.standard_files import CaseRecord, read_case, read_record, read_records, write_case
from dal_auto.stopwatch import Stopwatch
from dal_auto.workers import Workforce, run_tasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One case for one worker."""

    case: RawCase
    steps: CaseSteps
    plan: PreprocessingPlan
    folder: Path
    threads: int


@dataclass
class Summary:
    """What became of a dataset's cases."""

    dataset: str
    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def folder_of(dataset: str) -> Path:
    """Where a dataset's preprocessed files lie."""
    return paths.preprocessed() / dataset


def case_records(dataset: str) -> list[CaseRecord]:
    """The standard cases of a dataset.

    Raises
    ------
    UsageError
        if there are none: it has not been preprocessed.
    """
    records = read_records(folder_of(dataset) / "cases")
    if not records:
        raise UsageError(
            f"no preprocessed case of {dataset} in {folder_of(dataset)}. "
            f"Run `dal_plan_and_preprocess -d {dataset}` first."
        )
    return records


def load_decisions(dataset: str) -> DatasetDecisions:
    """What `dal_plan_and_preprocess` decided for a dataset."""
    path = folder_of(dataset) / "preprocessing.json"
    if not path.is_file():
        raise UsageError(f"{path} is missing. Run `dal_plan_and_preprocess -d {dataset}` first.")
    return DatasetDecisions.parse(json.loads(path.read_text(encoding="utf-8")))


def inputs_hash(task: Task) -> str:
    """Hash of everything that a case's result depends on: files, steps, plan, tool versions."""
    digest = hashlib.sha256()
    files = [*task.case.sequences.values(), task.case.lesion_mask, task.case.brain_mask]
    for file in files:
        if file is not None:
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise InputError(
                    file, f"it cannot be read ({error.strerror})", "Check the path and the link."
                ) from error
    content = {
        "patient_id": task.case.patient_id,
        "sequences": list(task.case.sequences),
        "masks": [task.case.lesion_mask is not None, task.case.brain_mask is not None],
        "claims": asdict(task.case.claims),
        "steps": task.steps.model_dump(mode="json"),
        "plan": task.plan.model_dump(mode="json"),
        "tools": tool_versions(task.steps, task.plan),
    }
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def preprocess_case(task: Task) -> tuple[bool, list[str]]:
    """Preprocess one case, unless an equal result is there; returns (was there, flags)."""
    wanted = inputs_hash(task)
    path = task.folder / "cases" / f"{task.case.case_id}.json"
    if path.is_file():
        with suppress(InputError):  # damaged since: done again
            record = read_record(path)
            if record.hash == wanted and read_case(record):
                return True, flags(record.content["quality"])
    # From here to the rename at the end the case is not there: an old record would be trusted.
    path.unlink(missing_ok=True)
    watch = Stopwatch()
    case = standardise(
        task.case, task.steps, task.plan, load_atlas(), threads=task.threads, watch=watch
    )
    write_case(task.folder / "cases", case, wanted)
    write_json(
        task.folder / "logs" / f"{task.case.case_id}.json",
        {"seconds": {name: round(value, 3) for name, value in watch.seconds.items()}},
    )
    return False, flags(case.quality)


def preprocess_dataset(
    dataset: Dataset, plan: PreprocessingPlan, *, workforce: Workforce
) -> tuple[DatasetDecisions, Summary]:
    """Fingerprint a dataset, decide the steps, preprocess every case, write the quality page.

    Files of cases that the dataset no longer has are left alone; failures are listed in the
    summary, and in ``failures.txt`` beside the quality page.
    """
    folder = folder_of(dataset.name)
    fingerprint = fingerprint_dataset(dataset.name, dataset.cases, workforce=workforce)
    fingerprint.save(folder / "fingerprint.json")
    decisions = decide_dataset(fingerprint, dataset.cases, plan)
    write_json(folder / "preprocessing.json", decisions.model_dump(mode="json"))
    for line in [*fingerprint.summary(), *decisions.summary()]:
        logger.info(line)

    summary = Summary(dataset.name, warnings=_missing_sequences(dataset.cases))
    for case in fingerprint.cases:
        if case.finding is not None:
            summary.failures.append(f"case {case.case_id}: {case.finding}")
            (folder / "cases" / f"{case.case_id}.json").unlink(missing_ok=True)
    tasks = [
        Task(case, decisions.steps[case.case_id], plan, folder, workforce.threads)
        for case in dataset.cases
        if case.case_id in decisions.steps
    ]
    outcomes = run_tasks(
        preprocess_case,
        tasks,
        [task.case.case_id for task in tasks],
        workforce=workforce,
        title=f"{dataset.name}: preprocess",
    )
    try:
        for case_id, outcome in outcomes:
            if isinstance(outcome, DalError):
                summary.failures.append(case_line(case_id, outcome))
                logger.error(summary.failures[-1])
                (folder / "cases" / f"{case_id}.json").unlink(missing_ok=True)
                continue
            was_there, found = outcome
            (summary.kept if was_there else summary.done).append(case_id)
            summary.warnings += [f"{case_id}: {flag}" for flag in found]
    finally:
        write_text(folder / "failures.txt", "".join(f"{line}\n" for line in summary.failures))
    write_quality(folder, dataset.name, read_records(folder / "cases"), summary.failures)
    return decisions, summary


def _missing_sequences(cases: Iterable[RawCase]) -> list[str]:
    """A warning for each case that lacks a sequence most others have."""
    wanted = {"T1", "T2"}
    return [
        f"{case.case_id}: no {' and no '.join(sorted(missing))}; training on pairs leaves it out"
        for case in cases
        if case.lesion_mask is None and (missing := wanted - set(case.sequences))
    ]
