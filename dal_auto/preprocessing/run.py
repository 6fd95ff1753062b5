"""A dataset through the chain: in parallel, resumable, and no failing case stops another."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from dal_auto import __version__
from dal_auto.case import RawCase
from dal_auto.datasets.registry import Dataset
from dal_auto.errors import (
    DalError,
    DiskFull,
    InputError,
)
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise, tool_versions
from dal_auto.preprocessing.fingerprint.dataset import Fingerprint, fingerprint_dataset
from dal_auto.preprocessing.preconditions import named_well, require_tools_and_room
from dal_auto.preprocessing.quality.dataset import write_quality
from dal_auto.preprocessing.quality.limits import flags
from dal_auto.preprocessing.quality.pictures import write_picture
from dal_auto.preprocessing.steps import CaseSteps, DatasetDecisions, decide_dataset
from dal_auto.preprocessing.stored import folder_of
from dal_auto.store.atomic import remove_leftovers, write_json
from dal_auto.store.claim import claimed
from dal_auto.store.failures import Failures
from dal_auto.store.kept import made_from
from dal_auto.store.standard_cases import (
    read_case,
    read_record,
    read_records,
    reinstate,
    retire,
    write_case,
)
from dal_auto.workers import Workforce, run_tasks
from dal_auto.workers.progress import Stopwatch

logger = logging.getLogger(__name__)

# Peaks measured with one thread (resident, GB): BraTS-GLI 1.0 (no skull stripping, 2 × 9 million
# voxels), IXI at 2 mm 1.3, MSLUB raw 1.4, the same at 0.8 mm 1.4 (2 × 13), at 0.6 mm 2.3 (2 × 30).
_BASE_BYTES = 700_000_000  # Python, the libraries, the atlas
_STRIP_BYTES = 700_000_000  # torch, deepbet's weights and activations
_VOXEL_BYTES = 7 * 4  # copies in float32 where most are there at once: greedy between sequences


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
    failed: Failures = field(default_factory=Failures)
    warnings: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """One line for each case that failed."""
        return self.failed.lines


def inputs_hash(task: Task) -> str:
    """Hash of everything that a case's result depends on: files, steps, plan, tool versions."""
    case = task.case
    return made_from(
        {
            "patient_id": case.patient_id,
            "sequences": list(case.sequences),
            "claims": asdict(case.claims),
            "steps": task.steps.model_dump(mode="json"),
            "plan": task.plan.model_dump(mode="json"),
            "tools": [f"dal_auto {__version__}", *tool_versions(task.steps, task.plan)],
        },
        {**case.sequences, "lesion mask": case.lesion_mask, "brain mask": case.brain_mask},
    )


def preprocess_case(task: Task) -> tuple[bool, list[str]]:
    """Preprocess one case, unless an equal result is there; returns (was there, flags)."""
    watch = Stopwatch()
    path = task.folder / "cases" / f"{task.case.case_id}.json"
    with watch.step("compare with what is there"):
        wanted = inputs_hash(task)
        was_retired = reinstate(path)
        if path.is_file():
            with suppress(InputError):  # damaged since: done again
                record = read_record(path)
                if record.hash == wanted and read_case(record):
                    return True, flags(record.quality)
        if was_retired:  # it is of other inputs, or another plan
            retire(path)
    case = standardise(
        task.case, task.steps, task.plan, load_atlas(), threads=task.threads, watch=watch
    )
    with watch.step("write"):
        write_case(task.folder / "cases", case, wanted)
        write_picture(task.folder, case, wanted, load_atlas())
    write_json(
        task.folder / "logs" / f"{task.case.case_id}.json",
        {"seconds": {name: round(value, 3) for name, value in watch.seconds.items()}},
    )
    return False, flags(case.quality)


def case_bytes(voxels: int, *, strip: bool) -> int:
    """Memory that the chain needs at its peak for a case, above what was measured by up to a half.

    Parameters
    ----------
    voxels : of all its images
    strip : whether the skull is to be stripped
    """
    return _BASE_BYTES + strip * _STRIP_BYTES + voxels * _VOXEL_BYTES


def preprocess_dataset(
    dataset: Dataset, plan: PreprocessingPlan, *, workforce: Workforce
) -> tuple[DatasetDecisions, Summary]:
    """Fingerprint a dataset, decide the steps, preprocess every case, write the quality page.

    Files of cases that the dataset no longer has are left alone; failures are listed in the
    summary, and in ``failures.csv`` beside the quality page. The record of a case that failed is
    set aside: it belongs to other inputs, and is taken again should they return.

    Raises
    ------
    MissingDependency
        if a tool that a case needs is not installed; nothing was changed.
    InputError, UsageError
        if the folder cannot be written to, another run writes to it, or the disk has no room.
    DiskFull
        if there is no room for a file; what is done by then is kept by the next run.
    """
    folder = folder_of(dataset.name)
    cases, refused = named_well(dataset.cases)
    dataset = replace(dataset, cases=tuple(cases))
    with claimed(folder, "Name another with DAL_PREPROCESSED."):
        remove_leftovers(folder / "cases")
        fingerprint = fingerprint_dataset(dataset.name, dataset.cases, workforce=workforce)
        decisions = decide_dataset(fingerprint, dataset.cases, plan)
        require_tools_and_room(folder, dataset.cases, decisions)
        fingerprint.save(folder / "fingerprint.json")
        return decisions, _preprocess(folder, dataset, fingerprint, decisions, refused, workforce)


def _preprocess(
    folder: Path,
    dataset: Dataset,
    fingerprint: Fingerprint,
    decisions: DatasetDecisions,
    refused: Sequence[tuple[str, DalError]],
    workforce: Workforce,
) -> Summary:
    """Every case by the workers; what became of them, and of those that were refused before."""
    if changes := _changes(folder / "preprocessing.json", decisions.preprocessing):
        logger.info("the cases in %s are made again: %s", folder, "; ".join(changes))
        # Should this run be stopped, cases of two plans must not stand side by side.
        for case_id in decisions.steps:
            retire(folder / "cases" / f"{case_id}.json")
    write_json(folder / "preprocessing.json", decisions.model_dump(mode="json"))
    for line in [*fingerprint.summary(), *decisions.summary()]:
        logger.info(line)

    summary = Summary(dataset.name, warnings=_missing_sequences(dataset.cases))
    for case_id, error in refused:
        summary.failed.add(case_id, error)
    for case in fingerprint.cases:
        if case.failure is not None:
            error = DalError(case.failure)
            error.step = "fingerprint"
            summary.failed.add(case.case_id, error)
            retire(folder / "cases" / f"{case.case_id}.json")
    tasks = [
        Task(
            case,
            decisions.steps[case.case_id],
            decisions.preprocessing,
            folder,
            workforce.threads,
        )
        for case in dataset.cases
        if case.case_id in decisions.steps
    ]
    outcomes = run_tasks(
        preprocess_case,
        tasks,
        [task.case.case_id for task in tasks],
        workforce=workforce,
        title=f"{dataset.name}: preprocess",
        task_bytes=_largest_task_bytes(fingerprint, decisions),
    )
    try:
        for case_id, outcome in outcomes:
            if isinstance(outcome, DalError):
                logger.error(summary.failed.add(case_id, outcome))
                retire(folder / "cases" / f"{case_id}.json")
                continue
            was_there, found = outcome
            (summary.kept if was_there else summary.done).append(case_id)
            summary.warnings += [f"{case_id}: {flag}" for flag in found]
    finally:
        for finished in (summary.done, summary.kept, summary.failed, summary.warnings):
            finished.sort()  # workers finish in any order
        with suppress(DiskFull):  # then it is the disk that is the news
            summary.failed.write(folder / "failures.csv")
    records = read_records(folder / "cases", decisions.steps)
    write_quality(folder, dataset.name, records, summary.failures)
    return summary


def _changes(decided: Path, plan: PreprocessingPlan) -> list[str]:
    """What the plan has other values for than the plan that the folder was made with."""
    try:
        there = json.loads(decided.read_text(encoding="utf-8"))["preprocessing"]
        now = plan.model_dump(mode="json")
        added = [f"preprocessing.{key} is new ({now[key]!r})" for key in now if key not in there]
        return added + [
            f"preprocessing.{key} was {there[key]!r} and is now {value!r}"
            for key, value in now.items()
            if key in there and there[key] != value
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # none there, or one that is no plan: nothing can be compared


def _largest_task_bytes(fingerprint: Fingerprint, decisions: DatasetDecisions) -> int:
    return max(
        (
            case_bytes(
                sum(math.prod(image.shape) for image in case.images.values()),
                strip=decisions.steps[case.case_id].may_strip,
            )
            for case in fingerprint.cases
            if case.case_id in decisions.steps
        ),
        default=0,
    )


def _missing_sequences(cases: Iterable[RawCase]) -> list[str]:
    """A warning for each case that lacks a sequence most others have."""
    wanted = {"T1", "T2"}
    return [
        f"{case.case_id}: no {' and no '.join(sorted(missing))}; training on pairs leaves it out"
        for case in cases
        if case.lesion_mask is None and (missing := wanted - set(case.sequences))
    ]
