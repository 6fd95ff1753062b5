"""A folder of raw scans → anomaly maps in native space: chain, model, export.

Workers prepare the next cases and threads write the last ones while the device computes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from dal_auto.case import RawCase
from dal_auto.choices import LayoutName
from dal_auto.errors import (
    DalError,
    DiskFull,
    InputError,
    MissingDependency,
)
from dal_auto.inference.background import Background
from dal_auto.inference.former import (
    OLD,
    remove_empty,
    set_aside,
    set_aside_unfinished,
    settle,
)
from dal_auto.inference.layout import claim_layout
from dal_auto.inference.model import Model, load_model
from dal_auto.inference.outputs import Export, possible_names, write_outputs
from dal_auto.inference.page import write_page
from dal_auto.inference.predictor import Prediction
from dal_auto.inference.prepare import (
    Prepared,
    PrepareTask,
    decisions,
    prepare,
    task_bytes,
    usable,
)
from dal_auto.inference.record import read_records
from dal_auto.inference.remark import Remark, flags_of
from dal_auto.inference.request import Request, is_done
from dal_auto.inference.table import write_tables
from dal_auto.store.atomic import remove_leftovers
from dal_auto.store.claim import require_good_name
from dal_auto.store.failures import Failures, case_error
from dal_auto.store.model_files import ModelFile
from dal_auto.store.runs import Run
from dal_auto.workers import Workforce, run_tasks
from dal_auto.workers.progress import Stopwatch

logger = logging.getLogger(__name__)

_WRITERS = 2
_WAITING = 3  # a case under way holds about 0.5 GB
_READERS = 4


@dataclass
class PredictionSummary:
    """What became of the cases of a folder."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: Failures = field(default_factory=Failures)

    @property
    def failures(self) -> list[str]:
        """One line for each case that failed."""
        return self.failed.lines

    def fail(self, case_id: str, error: DalError) -> None:
        """Note a case that failed, and say so."""
        logger.error(self.failed.add(case_id, error))


def predict_cases(
    cases: Sequence[RawCase],
    output: Path,
    run: Run | ModelFile,
    *,
    device: str,
    save: frozenset[str],
    threshold: float | None,
    workforce: Workforce,
    resume: bool = True,
    layout: LayoutName = "flat",
) -> PredictionSummary:
    """Predict every case: maps, masks, pictures, tables and a page of all.

    Parameters
    ----------
    output : a folder that the caller has claimed (`store.claim`)
    save : further outputs, of `choices.OUTPUTS`
    threshold : for the masks of the sequences' maps; None takes the checkpoint's practical ones
    layout : what the files of a case are called
    resume : keep what is there whole and was made of the same files, model, options and tools

    Raises
    ------
    UsageError, InputError
        if nothing can be predicted at all: another atlas, no threshold, names that the layout
        cannot tell apart.
    DiskFull
        if there is no room for a file; what is done by then is kept by the next run.
    """
    model = load_model(run, device=device, save=save, threshold=threshold, layout=layout)
    for folder in (output / "records", output / "logs"):
        remove_leftovers(folder)
    claim_layout(layout, output, [case.case_id for case in cases])
    summary = PredictionSummary()
    tasks: dict[str, PrepareTask] = {}
    left_out: dict[str, list[Remark]] = {}
    for case in cases:
        try:
            require_good_name(case)
        except InputError as error:
            summary.fail(case.case_id, case_error(case.case_id, "choice of a name", error))
            continue
        try:
            taken, left_out[case.case_id] = usable(case, model.plans.sequences)
        except DalError as error:
            _put_away(output, case, model)
            summary.fail(case.case_id, case_error(case.case_id, "choice of sequences", error))
            continue
        tasks[case.case_id] = PrepareTask(taken, model.request, workforce.threads)
    if resume:
        summary.kept = _done_before(output, tasks, model.request)
    for case_id in summary.kept:
        del tasks[case_id]
        settle(output, case_id)  # of a run that was killed in its last instant
    at_once = workforce.at_once(len(tasks))
    tasks = {case_id: replace(task, at_once=at_once) for case_id, task in tasks.items()}
    try:
        _predict_all(model, output, tasks, left_out, summary, workforce)
    finally:
        for finished in (summary.done, summary.kept, summary.failed):
            finished.sort()  # workers finish in any order
        with suppress(DiskFull):  # then it is the disk that is the news
            records = list(read_records(output))
            write_tables(output, records, summary.failed)
            write_page(output, records, summary.failures)
        remove_empty(output)
    return summary


def _predict_all(
    model: Model,
    output: Path,
    tasks: dict[str, PrepareTask],
    left_out: dict[str, list[Remark]],
    summary: PredictionSummary,
    workforce: Workforce,
) -> None:
    """Every task through workers, device and writers; what becomes of each is noted."""

    def note(case_id: str, error: DalError | None) -> None:
        if isinstance(error, DiskFull):
            raise error
        if error is None:
            summary.done.append(case_id)
            return
        if not isinstance(error, MissingDependency):  # which says nothing of what is there
            _put_away(output, tasks[case_id].case, model)
        summary.fail(case_id, error)

    missing = _say_once()
    prepared = run_tasks(
        prepare,
        list(tasks.values()),
        list(tasks),
        workforce=workforce,
        title="predict",
        task_bytes=max(map(task_bytes, tasks.values()), default=0),
    )
    writers = Background(write_outputs, threads=_WRITERS, waiting=_WAITING)
    with closing(prepared), writers:
        for case_id, outcome in prepared:
            try:
                if isinstance(outcome, DalError):
                    raise outcome
                outcome = replace(outcome, warnings=(*outcome.warnings, *left_out[case_id]))
                _tell(case_id, outcome, model)
                export = _through_the_network(model, tasks[case_id], outcome, output)
            except Exception as error:  # one bad case stops no other
                note(case_id, case_error(case_id, "network", error))
                continue
            missing(model.request.save, next(iter(export.predictions.values())))
            for finished in writers.add(case_id, export):
                note(*finished)
        for finished in writers.rest():
            note(*finished)


def _put_away(output: Path, case: RawCase, model: Model) -> None:
    """The maps of before belong to other inputs: they must not be taken for this case's."""
    former = set_aside(output, case.case_id)
    sequences = {*case.sequences, *model.plans.sequences}
    half = possible_names(model.request.layout, case.case_id, sequences)
    if set_aside_unfinished(output, half) or former:
        logger.warning(
            "%s: it has no maps now; those of an earlier run lie in %s", case.case_id, output / OLD
        )


def _done_before(output: Path, tasks: dict[str, PrepareTask], request: Request) -> list[str]:
    """The cases whose outputs are there, whole, and those of this request."""
    with ThreadPoolExecutor(_READERS) as readers:  # reading and hashing let go of Python's lock
        found = readers.map(lambda task: is_done(output, task.case, request), tasks.values())
        return [case_id for case_id, done in zip(tasks, found, strict=True) if done]


def _through_the_network(
    model: Model, task: PrepareTask, prepared: Prepared, output: Path
) -> Export:
    watch = Stopwatch(dict(prepared.seconds))
    with watch.step("network, score and filters"):
        predictions = model.predict(prepared.case)
    return Export(model, task.case, prepared, predictions, output, watch.seconds, task.at_once)


def _tell(case_id: str, prepared: Prepared, model: Model) -> None:
    """What was decided for a case, and what a human should look at."""
    logger.info("%s: %s", case_id, decisions(prepared.steps, model.request.plan))
    for remark in (*prepared.warnings, *flags_of(prepared.case.quality)):
        logger.warning("%s: %s", case_id, remark)


def _say_once() -> Callable[[frozenset[str], Prediction], None]:
    """Warns of volumes that were asked for and that the method does not have, at the first case."""
    said: set[str] = set()

    def say(save: frozenset[str], prediction: Prediction) -> None:
        there = {
            "pseudo-healthy": prediction.pseudo_healthy is not None,
            "anatomy": "anatomy" in prediction.extras,
        }
        for name, has in there.items():
            if name in save and not has and name not in said:
                said.add(name)
                logger.warning("the method has no %s volume: none is written", name)

    return say
