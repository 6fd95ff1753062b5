"""A folder of raw scans → anomaly maps in native space: chain, model, export."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import nibabel as nib
import pandas as pd

from dal_auto.atomic import replacing, write_json
from dal_auto.case import RawCase, StandardCase
from dal_auto.errors import DalError, DiskFull, InputError, UsageError, case_line
from dal_auto.inference.outputs import write_outputs
from dal_auto.inference.runs import Run
from dal_auto.methods.checkpoint import Checkpoint
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.fingerprint import fingerprint_case
from dal_auto.preprocessing.planner import decide_steps
from dal_auto.preprocessing.run import case_bytes
from dal_auto.stopwatch import Stopwatch
from dal_auto.workers import Workforce, run_tasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareTask:
    """One raw case for one worker."""

    case: RawCase
    plan: PreprocessingPlan
    threads: int


@dataclass
class PredictionSummary:
    """What became of the cases of a folder."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def prepare(task: PrepareTask) -> tuple[StandardCase, dict[str, float]]:
    """Measure a case, decide its steps, run the chain; returns it with the seconds by step."""
    watch = Stopwatch()
    with watch.step("fingerprint"):
        measured = fingerprint_case(task.case)
    if measured.finding is not None:
        raise DalError(measured.finding)
    steps = decide_steps(task.case, measured)
    case = standardise(task.case, steps, task.plan, load_atlas(), threads=task.threads, watch=watch)
    return case, watch.seconds


def check_atlas(checkpoint: Checkpoint) -> None:
    """Refuse to predict in another space than the model was trained in.

    Raises
    ------
    UsageError
        if the atlas found here is not the one in the plans.
    """
    plan, atlas = checkpoint.plans.preprocessing, load_atlas()
    if plan.atlas_sha256 != atlas.sha256:
        raise UsageError(
            f"the model was trained in the space of {plan.atlas} ({plan.atlas_sha256[:12]}…), but "
            f"the atlas found here is {atlas.name} ({atlas.sha256[:12]}…). Install the same one."
        )


def usable_sequences(case: RawCase, checkpoint: Checkpoint) -> RawCase:
    """The case with the sequences that the model knows; the others are named in a warning.

    Raises
    ------
    UsageError
        if none is left; the message says to retrain.
    """
    known = {n: p for n, p in case.sequences.items() if n in checkpoint.plans.sequences}
    for name in sorted(set(case.sequences) - set(known)):
        logger.warning("%s: %s is left out, the model was not trained on it", case.case_id, name)
    if not known:
        raise UsageError(
            f"case {case.case_id} has only {', '.join(case.sequences)}; the model was trained on "
            f"{', '.join(checkpoint.plans.sequences)}. Retrain with these sequences."
        )
    return replace(case, sequences=known)


def predict_cases(
    cases: Sequence[RawCase],
    output: Path,
    run: Run,
    *,
    device: str,
    save: frozenset[str],
    threshold: float | None,
    workforce: Workforce,
) -> PredictionSummary:
    """Predict every case, writing maps, masks, a picture and a row of ``cases.csv`` for each.

    Parameters
    ----------
    save : further outputs, of {"pseudo-healthy", "atlas-space"}
    threshold : for the binary mask; None takes the checkpoint's practical threshold
    """
    checkpoint = run.load()
    check_atlas(checkpoint)
    _claim_folder(output)
    method = checkpoint.build(device)
    model_hash = run.checkpoint_sha256()
    summary = PredictionSummary()
    tasks: dict[str, PrepareTask] = {}
    hashes: dict[str, str] = {}
    for case in cases:
        try:
            usable = usable_sequences(case, checkpoint)
            hashes[case.case_id] = _request_hash(usable, model_hash, save, threshold)
        except DalError as error:
            summary.failures.append(case_line(case.case_id, error))
            logger.error(summary.failures[-1])
            continue
        if _is_done(output, case.case_id, hashes[case.case_id]):
            summary.kept.append(case.case_id)
        else:
            tasks[case.case_id] = PrepareTask(
                usable, checkpoint.plans.preprocessing, workforce.threads
            )
    try:
        for case_id, outcome in run_tasks(
            prepare,
            list(tasks.values()),
            list(tasks),
            workforce=workforce,
            title="predict",
            task_bytes=max((_task_bytes(task) for task in tasks.values()), default=0),
        ):
            try:
                if isinstance(outcome, DalError):
                    raise outcome
                standard, seconds = outcome
                watch = Stopwatch(seconds)
                rows = [
                    write_outputs(
                        method,
                        checkpoint,
                        tasks[case_id].case,
                        standard,
                        sequence,
                        output,
                        device=device,
                        save=save,
                        threshold=threshold,
                        watch=watch,
                    )
                    for sequence in standard.sequences
                ]
            except DiskFull:
                raise
            except DalError as error:
                summary.failures.append(case_line(case_id, error))
                logger.error(summary.failures[-1])
                continue
            write_json(
                output / "logs" / f"{case_id}.json",
                {"seconds": {name: round(value, 3) for name, value in watch.seconds.items()}},
            )
            write_json(_record(output, case_id), {"hash": hashes[case_id], "rows": rows})
            summary.done.append(case_id)
    finally:
        with suppress(DiskFull):  # then it is the disk that is the news
            _write_table(output)
    return summary


def _task_bytes(task: PrepareTask) -> int:
    """Memory for a case whose images are not yet read: from their headers, skull included."""
    voxels = 0
    for path in task.case.sequences.values():
        with suppress(Exception):  # what is wrong with a file is said when it is read
            voxels += math.prod(nib.load(path).shape)  # type: ignore[attr-defined]
    return case_bytes(voxels, strip=True)


def _claim_folder(output: Path) -> None:
    """Make the output folder, and see that it can be written to."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with replacing(output / ".writable") as temporary:
            temporary.touch()
        (output / ".writable").unlink()
    except OSError as error:
        raise InputError(
            output,
            f"the output folder cannot be written ({error.strerror})",
            "Name another with -o.",
        ) from error


def _record(output: Path, case_id: str) -> Path:
    return output / "records" / f"{case_id}.json"


def _request_hash(
    case: RawCase, model_hash: str, save: frozenset[str], threshold: float | None
) -> str:
    """Hash of what a case's outputs depend on."""
    digest = hashlib.sha256(model_hash.encode())
    for name, path in case.sequences.items():
        try:
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise InputError(path, f"it cannot be read ({error.strerror})", "Check it.") from error
    asked = {"save": sorted(save), "threshold": threshold, "claims": asdict(case.claims)}
    digest.update(json.dumps(asked, sort_keys=True).encode())
    return digest.hexdigest()


def _is_done(output: Path, case_id: str, wanted: str) -> bool:
    path = _record(output, case_id)
    if not path.is_file():
        return False
    content = json.loads(path.read_text(encoding="utf-8"))
    maps = [output / f"{case_id}_{row['sequence']}_anomaly.nii.gz" for row in content["rows"]]
    return content["hash"] == wanted and all(file.is_file() for file in maps)


def _write_table(output: Path) -> None:
    """Rebuild ``cases.csv`` from the records of all cases done so far."""
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((output / "records").glob("[!.]*.json"))
    ]
    with replacing(output / "cases.csv") as temporary:
        pd.DataFrame([row for record in records for row in record["rows"]]).to_csv(
            temporary, index=False
        )
