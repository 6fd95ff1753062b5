"""Which learning rate and how many steps suit a method: some are tried, on other heads.

Each is judged by the average precision of lesions that are pasted into the drawn heads which the
training leaves out: neither the simulated test heads nor a real case has a say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dal_auto.datasets.drawn import DRAWN
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.preprocessing.stored import case_records, folder_of
from dal_auto.store.atomic import write_json
from dal_auto.training.cohort import cohort_of, split_by_patient
from dal_auto.training.drawn.dataset import drawn_cohort
from dal_auto.training.selection import Selection, selection_precision
from dal_auto.training.trainer import Trainer, TrainingFailed
from methods_parts.budget import planned
from methods_parts.child import in_a_child

#: Of the plans' learning rate.
FACTORS = (0.25, 1.0, 4.0)
#: Of the steps that fit the budget.
SHARES = (0.25, 0.5)
#: Three of sixteen heads are to judge by.
_HELD_OUT = {"training.validation_fraction": 0.2}
_SEED = 100  # of no run in the tables
RATE, STEPS = "training.learning_rate", "training.steps"


@dataclass(frozen=True)
class Search:
    """Values of a key of the plans that were tried.

    Parameters
    ----------
    tried : value as text → what it finds: "AP", 0 to 1, and more
    """

    tried: Mapping[str, Mapping[str, float]]

    @property
    def best(self) -> float:
        """The value that finds most; the first of equal ones. Whole numbers are `int`."""
        return json.loads(max(self.tried, key=lambda value: self.tried[value]["AP"]))

    @property
    def precisions(self) -> dict[float, float]:
        """Value → AP, in ascending order of the values."""
        return {json.loads(v): self.tried[v]["AP"] for v in sorted(self.tried, key=float)}


def search_plans(
    folder: Path, name: str, method: str, changes: Mapping[str, Any], *, fewer_steps: bool
) -> dict[str, Search]:
    """Key of the plans → values that were tried: learning rates, and then numbers of steps.

    Parameters
    ----------
    folder, name : files that keep what was tried
    changes : dotted key → value of the plans, steps included
    fewer_steps : try `SHARES` of the steps, too, with the best rate
    """
    own = planned(DRAWN, method, changes)[0].training.learning_rate
    rates = [factor * own for factor in FACTORS]
    searched = {RATE: Search(_tried(folder / f"{name}_rates.json", method, changes, RATE, rates))}
    if fewer_steps:
        best = searched[RATE].best
        steps = int(changes[STEPS])
        shares = list(dict.fromkeys(max(1, int(share * steps)) for share in SHARES))
        record = folder / f"{name}_{best:g}_shares.json"
        fewer = _tried(record, method, {**changes, RATE: best}, STEPS, shares)
        searched[STEPS] = Search({f"{steps}": searched[RATE].tried[f"{best:g}"], **fewer})
    return searched


def _tried(
    record: Path, method: str, changes: Mapping[str, Any], key: str, values: Sequence[float]
) -> Mapping[str, Mapping[str, float]]:
    """What a training finds with each value of a key of the plans; kept in the record."""
    tried = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    for value in values:
        if f"{value:g}" not in tried:
            plans, _ = planned(DRAWN, method, {**changes, **_HELD_OUT, key: value})
            with TemporaryDirectory(dir=record.parent) as folder:
                judged = Path(folder) / "precision.json"
                in_a_child(partial(_judge, plans, Path(folder), judged))
                tried[f"{value:g}"] = json.loads(judged.read_text("utf-8"))
            write_json(record, tried)
    return tried


def _judge(plans: Plans, folder: Path, judged: Path) -> None:
    """Train, and write what is found of the pasted lesions; nothing, where training fails."""
    dataset = folder_of(plans.training_set)
    parts = split_by_patient(case_records(plans.training_set), plans.training.validation_fraction)
    training, held_out = (cohort_of(dataset, records, plans) for records in parts)
    training.fill_cache()
    drawn = drawn_cohort(plans, {record.patient_id for record in training.records})
    if drawn is not None:
        drawn.pool.fill()
    torch.manual_seed(_SEED)
    method = find_method(plans.method.name)(plans)
    assert isinstance(method, GradientMethod)
    trainer = Trainer(method, training, held_out, _SEED, "cpu", folder, None, drawn)
    try:
        trainer.begin()
        trainer.run()
    except TrainingFailed:
        write_json(judged, {"AP": 0.0})
        return
    best = load_checkpoint(trainer.best_path).build("cpu")
    best.calibrate(held_out.batch([index]) for index in range(len(held_out)))
    write_json(judged, selection_precision(best, Selection(held_out, annotated=False), "cpu"))
