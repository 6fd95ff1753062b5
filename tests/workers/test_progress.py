"""Seconds by step, and the step that a process is in."""

from __future__ import annotations

import time

import pytest

from dal_auto.workers import progress as stopwatch
from dal_auto.workers.progress import Stopwatch


@pytest.fixture
def heard():
    steps: list[str] = []
    stopwatch.begin_task()
    stopwatch.listen(steps.append)
    yield steps
    stopwatch.listen(None)
    stopwatch.begin_task()


def test_the_seconds_of_a_step_add_up(monkeypatch):
    ticks = iter([10.0, 13.0, 20.0, 24.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    for _ in range(2):
        with watch.step("N4"):
            pass
    assert watch.seconds == {"N4": 7.5}


def test_who_listens_hears_every_step_entered_and_left(heard):
    watch = Stopwatch()
    with watch.step("read"):
        pass
    with watch.step("rigid"), watch.step("greedy"):
        pass
    assert heard == ["read", "running", "rigid", "greedy", "rigid", "running"]
    assert stopwatch.current_step() == "running"


def test_after_an_error_the_step_is_the_one_in_which_it_was_raised():
    with pytest.raises(KeyError), Stopwatch().step("N4"):
        raise KeyError
    assert stopwatch.current_step() == "N4"
    stopwatch.begin_task()
    assert stopwatch.current_step() == "running"


def test_a_step_that_failed_has_no_seconds():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.step("N4"):
        raise KeyError
    assert watch.seconds == {}
