"""The dataset `Simulated`: label maps in DAL_RAW become source heads, drawn cases and plans."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dal_auto.datasets.drawn import DRAWN, is_drawn
from dal_auto.errors import DalError, InputError, UsageError
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.preprocessing.registration.backends import backend_settings
from dal_auto.preprocessing.run import Summary
from dal_auto.preprocessing.steps import NO_STEPS, DatasetDecisions
from dal_auto.preprocessing.stored import folder_of
from dal_auto.store.atomic import remove_leftovers, write_json
from dal_auto.store.standard_cases import read_case, read_record, write_case
from dal_auto.training.drawn.cases import draw_case
from dal_auto.training.drawn.cohort import DrawnCohort
from dal_auto.training.drawn.heads import Head, head_from_labels, head_name
from dal_auto.training.drawn.pool import Pool
from dal_auto.workers import Workforce, run_tasks

SIMULATED = DRAWN
#: Changes whenever the same label map gives other cases.
_FORMAT = 3
_CASES_PER_HEAD = 2
#: Memory of one head on its way: distances and a case's shares at 1 mm.
_TASK_BYTES = 2_000_000_000


@dataclass(frozen=True)
class _Task:
    labels: Path
    plan: PreprocessingPlan
    folder: Path


def label_maps(raw: Path) -> list[Path]:
    """The label maps in ``DAL_RAW/Simulated``, sorted by name.

    Raises
    ------
    UsageError
        if there are fewer than two, or two with one name.
    """
    folder = raw / SIMULATED
    found = sorted(
        path
        for path in folder.glob("[!.]*.nii*")
        if path.name.endswith((".nii", ".nii.gz", ".nii.zst"))
    )
    names = Counter(head_name(path) for path in found)
    if several := [name for name, number in names.items() if number > 1]:
        raise UsageError(
            f"{folder} holds several label maps that are called {several[0]}. Rename them, so that "
            "each head has a name of its own."
        )
    if len(found) < 2:
        raise UsageError(
            f"{SIMULATED} is drawn from label maps with FreeSurfer's numbers, and {folder} holds "
            f"{len(found)}. Put or link two or more there (docs/simulated-cohort.md)."
        )
    return found


def prepare_simulated(raw: Path, plan: PreprocessingPlan, *, workforce: Workforce) -> Summary:
    """Lay every label map on the atlas, and draw fixed cases of it; what is there is kept.

    Raises
    ------
    UsageError
        if there are no label maps.
    """
    folder = folder_of(SIMULATED)
    maps = label_maps(raw)
    for part in ("heads", "cases"):
        remove_leftovers(folder / part)
    # Its cases are those of these label maps. One that was taken out is no longer trained on.
    cases = [f"{head_name(path)}_{n}" for path in maps for n in range(_CASES_PER_HEAD)]
    decisions = DatasetDecisions(
        dataset=SIMULATED, preprocessing=plan, steps=dict.fromkeys(cases, NO_STEPS)
    )
    write_json(folder / "preprocessing.json", decisions.model_dump(mode="json"))
    summary = Summary(SIMULATED)
    outcomes = run_tasks(
        _prepare_head,
        [_Task(path, plan, folder) for path in maps],
        [path.name for path in maps],
        workforce=workforce,
        title=f"{SIMULATED}: heads",
        task_bytes=_TASK_BYTES,
    )
    for name, outcome in outcomes:
        if isinstance(outcome, DalError):
            summary.failed.add(name, outcome)
        else:
            (summary.kept if outcome else summary.done).append(name)
    return summary


def drawn_cohort(plans: Plans, patients: Collection[str]) -> DrawnCohort | None:
    """What draws the training images of `plans`; None where the training set is a stored one.

    Parameters
    ----------
    patients : names of the source heads that are trained on
    """
    if not is_drawn(plans.training_set):
        return None
    folder = folder_of(plans.training_set)
    heads = [folder / "heads" / f"{name}.b2nd" for name in patients]
    return DrawnCohort(Pool.of(folder, heads, plans), plans)


def _prepare_head(task: _Task) -> bool:
    """Write the head and its cases; whether they were there already."""
    key = _key(task)
    name = head_name(task.labels)
    head_file = task.folder / "heads" / f"{name}.b2nd"
    records = [task.folder / "cases" / f"{name}_{number}.json" for number in range(_CASES_PER_HEAD)]
    with suppress(InputError, OSError):
        whole = [read_record(path) for path in records]
        if all(record.hash == key and read_case(record) for record in whole):
            Head.load(head_file)
            return True
    for path in records:
        path.unlink(missing_ok=True)
    head_from_labels(task.labels, task.plan).save(head_file)
    head = Head.load(head_file)
    for number in range(_CASES_PER_HEAD):
        seed = (int(key[:8], 16), number)
        case = draw_case(head, SIMULATED, number, task.plan, seed)
        write_case(task.folder / "cases", case, key)
    return False


def _key(task: _Task) -> str:
    """Hash of what decides a head and its cases: the labels, the space, the registration."""
    plan = task.plan
    content = [
        _FORMAT,
        plan.atlas_sha256,
        plan.target_shape,
        plan.percentiles,
        backend_settings(plan),
    ]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    digest.update(task.labels.read_bytes())
    return digest.hexdigest()
