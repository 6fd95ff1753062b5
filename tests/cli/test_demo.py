"""``dal_demo``: the commands that it runs, in order, with arguments that they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dal_auto import paths
from dal_auto.cli import common, demo


@pytest.mark.parametrize("options", [[], ["--home", "own"]])
def test_the_demo_runs_every_command_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    """In a folder of its own, whatever the surroundings say."""
    for name in ("DAL_HOME", "DAL_RAW", "DAL_PREPROCESSED", "DAL_RESULTS"):
        monkeypatch.setenv(name, str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []

    def step(title: str, command: Callable[[Sequence[str]], int], arguments: list[str]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(common, "run_command", lambda p, _, words: p.parse_args(words) and 0)
            assert command(arguments) == 0  # one that does not know an argument exits
        asked.append([title, *arguments])

    monkeypatch.setattr(demo, "_step", step)
    arguments = ["--healthy", "3", "--lesioned", "1", "--steps", "5", "-np", "1"]
    assert demo.main([*arguments, *options]) == 0
    home = Path(options[-1] if options else "demo")
    assert [words[0] for words in asked] == [
        *("simulate", "predict with the shipped model", "plan and preprocess", "train DAL"),
        *("train raw-intensity", "train mean-brain", "evaluate"),
    ]
    assert asked[0][1:5] == ["simulate", "--healthy", "3", "--lesioned"]
    assert "training.steps=5" in asked[3] and "training.steps=5" not in asked[4]
    assert asked[1][2:7] == [str(home / "scans"), "-o", str(home / "maps"), "-r", "shipped"]
    assert paths.results() == home / "results" and paths.raw() == home / "raw"
    assert not (tmp_path / "mine").exists()
    assert "DAL_RESULTS is not used here" in capsys.readouterr().err


def test_the_time_to_the_end_follows_the_pace_so_far() -> None:
    whole = sum(demo._SECONDS)
    assert demo._minutes_left(0.0, 0) == round(whole / 60)
    first = demo._SECONDS[0]
    assert demo._minutes_left(2 * first, 1) == round(2 * (whole - first) / 60)
    assert demo._minutes_left(1.0, len(demo._SECONDS) - 1) == 1
