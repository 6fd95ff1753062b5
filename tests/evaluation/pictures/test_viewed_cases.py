"""Volumes are kept of the worst and best cases of the shown run, and of no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dal_auto.errors import InputError
from dal_auto.evaluation import keeping
from dal_auto.evaluation.pictures import viewed_cases
from dal_auto.evaluation.pictures.viewed_cases import (
    ViewedCases,
    keep_volumes,
    kept_volumes,
    shown_runs,
)
from dal_auto.evaluation.pictures.volumes import read_volumes
from dal_auto.evaluation.run_info import read_run_info
from dal_auto.evaluation.scores import ScoreRecord, read_scored
from dal_auto.methods.checkpoint import Checkpoint
from dal_auto.store.runs import Run

CASES = 9


@dataclass
class Lab:
    """Two seeds of DAL and a baseline, scored on nine cases; predictions are counted."""

    make: SimpleNamespace
    runs: list[Run]
    cases: dict[str, object]
    predicted: list[tuple[str, str]]

    def keep(self) -> list[str]:
        records = [SimpleNamespace(case_id=name, hash="h") for name in self.cases]
        return keep_volumes(self.runs, {"MSLUB": records}, device="cpu")

    def files(self, run: Run) -> set[str]:
        return {path.name for path in run.folder.rglob("volumes/*")}

    def chosen(self, run: Run, sequence: str) -> set[str]:
        """The worst and best three by scikit-learn's AP."""
        precision = {}
        for name, case in self.cases.items():
            (score,) = self.make.drawn_prediction(run, case, sequence).anomaly.values()
            lesion = case.lesion_mask.ravel()
            if lesion.any():
                precision[name] = average_precision_score(lesion, np.float16(score).ravel())
        ranked = sorted(precision, key=precision.__getitem__)
        return {f"{name}_{sequence}.npz" for name in (*ranked[:3], *ranked[-3:])}


@pytest.fixture
def lab(home: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(keeping, "_draw", lambda *_: None)
    runs = [make.train("DAL", 1), make.train("mean-brain", 0), make.train("DAL", 0)]
    drawn = [make.drawn_case("MSLUB", number) for number in range(CASES)]
    drawn.append(make.drawn_case("MSLUB", CASES, healthy=True))
    cases = {case.case_id: case for case in drawn}
    for run in runs:
        make.score(run, "MSLUB", drawn)
    found = Lab(make, runs, cases, [])

    def predict(method, case, sequence, device, compare):
        found.predicted.append((case.case_id, sequence))
        return make.drawn_prediction(method, case, sequence)

    monkeypatch.setattr(viewed_cases, "predict", predict)
    monkeypatch.setattr(viewed_cases, "read_case", lambda record: cases[record.case_id])
    monkeypatch.setattr(viewed_cases, "check_atlas", lambda _: None)
    # In place of a network: whose it is.
    first = runs[2]
    monkeypatch.setattr(Checkpoint, "build", lambda self, device: first)
    return found


def test_the_first_seed_of_what_is_no_baseline_is_shown(lab):
    infos, _ = read_run_info(lab.runs)
    assert list(map(str, shown_runs(infos))) == ["IXI/DAL__demo__robust/seed_0"]
    baseline = [run for run in lab.runs if run.method == "mean-brain"]
    assert shown_runs(read_run_info(baseline)[0]) == baseline, "where there is nothing else"
    ablation = lab.make.train("DAL", 0, scoring__score="l1")
    assert ablation not in shown_runs(read_run_info([*lab.runs, ablation])[0])
    assert shown_runs({}) == []


def test_the_worst_and_the_best_of_each_sequence_are_kept(lab):
    assert lab.keep() == []
    second, baseline, first = lab.runs
    assert lab.files(first) == lab.chosen(first, "T1") | lab.chosen(first, "T2")
    assert len(lab.files(first)) == 12 == len(lab.predicted)
    assert lab.files(second) == lab.files(baseline) == set()
    kept = kept_volumes(read_scored(lab.runs, ["MSLUB"]).scored, [first])
    assert {one.path.name for one in kept} == lab.files(first)
    for one in kept:
        assert (one.dataset, one.method, one.run) == ("MSLUB", "DAL", first.identity)
        assert one.path.name == f"{one.case_id}_{one.sequence}.npz"
        volumes, case = read_volumes(one.path), lab.cases[one.case_id]
        assert volumes.levels("lesion").sum() == case.lesion_mask.sum()
        (score,) = lab.make.drawn_prediction(first, case, one.sequence).anomaly.values()
        assert volumes.highest == score.max()


@pytest.mark.parametrize("order", [1, -1])
def test_volumes_that_are_kept_while_cases_are_scored_are_those_of_the_worst_and_best(lab, order):
    first = lab.runs[2]
    viewed = ViewedCases(first, "of another name", lab.cases)
    for one in read_scored([first], ["MSLUB"]).scored[::order]:
        case = lab.cases[one.case_id]
        viewed.offer(one, case, lab.make.drawn_prediction(first, case, one.sequence))
    chosen = lab.chosen(first, "T1") | lab.chosen(first, "T2")
    assert lab.files(first) == chosen
    assert lab.keep() == [] and lab.predicted == [] and lab.files(first) == chosen


def test_what_is_there_is_left_alone_and_what_does_not_hold_is_made_again(lab):
    lab.keep()
    first = lab.runs[2]
    folder = next(first.folder.rglob("volumes"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lab.predicted.clear()
    assert lab.keep() == [] and lab.predicted == []
    spoilt, lost = sorted(before)[:2]
    (folder / spoilt).write_bytes(before[spoilt][:99])
    (folder / lost).unlink()
    (folder / "of-an-earlier-choice_T1.npz").write_bytes(b"")
    assert len(kept_volumes(read_scored([first], ["MSLUB"]).scored, [first])) == 10
    assert lab.keep() == [] and len(lab.predicted) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_volumes_of_another_case_do_not_count(lab):
    lab.keep()
    first = lab.runs[2]
    lab.predicted.clear()
    for path in first.folder.rglob("MSLUB-*.json"):  # as if it had been preprocessed otherwise
        record = ScoreRecord.read(path)
        other = record.made_from.model_copy(update={"case": "another"})
        record.model_copy(update={"made_from": other}).write(path)
    assert kept_volumes(read_scored([first], ["MSLUB"]).scored, [first]) == []
    assert lab.keep() == [] and len(lab.predicted) == 12


def test_a_failure_stops_no_other(lab, monkeypatch):
    first = lab.runs[2]
    name = sorted(lab.chosen(first, "T1"))[0].removesuffix("_T1.npz")

    def fail(method, case, sequence, device, compare):
        if case.case_id == name and sequence == "T1":
            raise ValueError("it is odd")
        return lab.make.drawn_prediction(method, case, sequence)

    monkeypatch.setattr(viewed_cases, "predict", fail)
    (failure,) = lab.keep()
    assert failure == (
        f"{first}, MSLUB, case {name} failed at keeping volumes: ValueError: it is odd"
    )
    assert len(lab.files(first)) == 11

    def damaged(record):
        raise InputError(Path("case.b2nd"), "it is damaged", "Do it again.")

    monkeypatch.setattr(viewed_cases, "read_case", damaged)
    (failure,) = lab.keep()
    assert f"case {name}" in failure and "it is damaged" in failure
