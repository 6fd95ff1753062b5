"""Progress in a terminal and in a log."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from dal_auto.workers import bars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds of the bars' clock, to be moved by the test."""
    now = [0.0]
    monkeypatch.setattr(bars, "monotonic", lambda: now[0])
    return now


def run(clock, cases: int, seconds: float) -> None:
    with bars.progress("chain", "case", total=cases) as bar:
        bar.mininterval = 0  # tqdm's own patience would need real seconds
        bar.miniters = 1
        for _ in range(cases):
            clock[0] += seconds
            bar.update()


def test_in_a_log_there_is_a_line_every_half_minute_and_one_at_the_end(
    clock, monkeypatch, caplog, capsys
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(clock, 10, 10.0)
    run(clock, 1, 60.0)
    assert [line.split(",")[0] for line in caplog.messages] == [
        *("chain: 3/10 case", "chain: 6/10 case", "chain: 9/10 case", "chain: 10/10 case"),
        "chain: 1/1 case",
    ]
    assert all(" so far, " in line and line.endswith(" left") for line in caplog.messages)
    assert "case/s" not in sys.stderr.getvalue()


def test_what_is_soon_done_says_nothing(clock, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(clock, 10, 0.1)
    assert caplog.messages == []


def test_in_a_terminal_it_is_a_bar(clock, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", Terminal())
    run(clock, 3, 1.0)
    assert "3/3" in sys.stderr.getvalue() and caplog.messages == []
