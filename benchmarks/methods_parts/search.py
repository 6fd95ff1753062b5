"""Which learning rate suits a method: some are tried, each for the same steps, on other heads.

Each is judged by the average precision of lesions that are pasted into the drawn heads which the
training leaves out: neither the simulated test heads nor a real case has a say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
#: Three of sixteen heads are to judge by.
_HELD_OUT = {"training.validation_fraction": 0.2}
_SEED = 100  # of no run in the tables


def found_rate(record: Path, method: str, changes: Mapping[str, Any]) -> float:
    """The learning rate, of `FACTORS` times the plans', that finds most.

    Parameters
    ----------
    record : file that keeps what was tried
    changes : dotted key → value of the plans, steps included
    """
    tried = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    changes = {**changes, **_HELD_OUT}
    own = planned(DRAWN, method, changes)[0].training.learning_rate
    for rate in (factor * own for factor in FACTORS):
        if f"{rate:g}" not in tried:
            plans, _ = planned(DRAWN, method, {**changes, "training.learning_rate": rate})
            with TemporaryDirectory(dir=record.parent) as folder:
                judged = Path(folder) / "precision.json"
                in_a_child(partial(_judge, plans, Path(folder), judged))
                tried[f"{rate:g}"] = json.loads(judged.read_text("utf-8"))
            write_json(record, tried)
    return float(max(tried, key=lambda rate: tried[rate]["AP"]))


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
