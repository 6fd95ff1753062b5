"""``dal_demo``: the commands that it runs, in order, with arguments that they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dal_auto.cli import common, demo


def test_the_demo_runs_every_command_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAL_HOME", str(tmp_path))
    asked: list[list[str]] = []

    def step(title: str, command: Callable[[Sequence[str]], int], arguments: list[str]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(common, "run_command", lambda p, _, words: p.parse_args(words) and 0)
            assert command(arguments) == 0  # one that does not know an argument exits
        asked.append([title, *arguments])

    monkeypatch.setattr(demo, "_step", step)
    assert demo.main(["--healthy", "3", "--lesioned", "1", "--steps", "5", "-np", "1"]) == 0
    assert [words[0] for words in asked] == [
        *("simulate", "predict with the shipped model", "plan and preprocess", "train DAL"),
        *("train raw-intensity", "train mean-brain", "evaluate"),
    ]
    assert asked[0][1:5] == ["simulate", "--healthy", "3", "--lesioned"]
    assert "training.steps=5" in asked[3] and "training.steps=5" not in asked[4]
    assert asked[1][2:7] == [str(tmp_path / "scans"), "-o", str(tmp_path / "maps"), "-r", "shipped"]


def test_the_time_to_the_end_follows_the_pace_so_far() -> None:
    whole = sum(demo._SECONDS)
    assert demo._minutes_left(0.0, 0) == round(whole / 60)
    first = demo._SECONDS[0]
    assert demo._minutes_left(2 * first, 1) == round(2 * (whole - first) / 60)
    assert demo._minutes_left(1.0, len(demo._SECONDS) - 1) == 1
