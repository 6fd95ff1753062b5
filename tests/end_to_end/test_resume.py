"""Killed in the middle and run again, a command ends as if it had not been killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def kill_when(command: list[str], environment: dict[str, str], ready: Callable[[], bool]) -> None:
    """Start a command in a group of its own, and kill the whole group (-9) once `ready`."""
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never came to the point where it is killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_preprocessing_by_two_workers_resumes_to_the_same_bytes(home, tmp_path: Path):
    cases = tmp_path / "SimHealthy" / "cases"
    where = {"DAL_PREPROCESSED": str(tmp_path)}
    arguments = ["-d", "SimHealthy", *home.chain, "-np", "2"]
    kill_when(
        [str(home.commands / "dal_plan_and_preprocess"), *arguments],
        home.environment(**where),
        lambda: any(cases.glob("[!.]*.json")),
    )
    there = len(list(cases.glob("[!.]*.json")))
    assert 1 <= there < 3
    again = home.run("dal_plan_and_preprocess", *arguments, **where)
    assert again.returncode == 0, again.stderr[-2000:]
    assert f"{3 - there} cases done, {there} kept from before, 0 failed" in again.stderr
    uninterrupted = home.path / "preprocessed" / "SimHealthy"
    names = sorted(path.name for path in cases.iterdir() if not path.name.startswith("."))
    assert names == sorted(path.name for path in (uninterrupted / "cases").iterdir())
    assert len(names) == 2 * 3
    for name in ["fingerprint.json", "preprocessing.json", *(f"cases/{name}" for name in names)]:
        mine = tmp_path / "SimHealthy" / name
        assert mine.read_bytes() == (uninterrupted / name).read_bytes(), name


def test_training_resumes_to_the_same_weights_and_losses(home, tmp_path: Path):
    arguments = ["-d", "SimHealthy", "-c", "demo", "--device", "cpu"]
    arguments += ["--set", "training.steps=8", "--set", "training.checkpoint_every=2"]
    arguments += ["--set", "method.settings.warm_start_steps=3"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    outcome = home.run("dal_train", *arguments, DAL_RESULTS=str(whole))
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    (run,) = (whole / "SimHealthy").glob("*/seed_0")
    other = killed / run.relative_to(whole)

    def is_half_way() -> bool:
        log = other / "log.jsonl"
        return log.is_file() and len(log.read_text().splitlines()) >= 4

    kill_when(
        [str(home.commands / "dal_train"), *arguments],
        home.environment(DAL_RESULTS=str(killed)),
        is_half_way,
    )
    assert not (other / "complete.json").exists()
    again = home.run("dal_train", *arguments, DAL_RESULTS=str(killed))
    assert again.returncode == 0, again.stderr[-2000:]
    assert "resumed at step" in again.stderr
    for name in ("best.safetensors", "last.safetensors", "log.jsonl", "plans.json"):
        assert (other / name).read_bytes() == (run / name).read_bytes(), name
