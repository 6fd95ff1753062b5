"""Writing beside the device's work: bounded, each error under its case's name."""

from __future__ import annotations

import threading

from dal_auto.errors import CaseFailed, DiskFull
from dal_auto.inference.background import Background


def test_what_is_under_way_is_bounded_and_all_is_done():
    under_way, most, done = set(), [0], []
    lock = threading.Lock()

    def write(number: int) -> None:
        with lock:
            done.append(number)

    with Background(write, threads=2, waiting=3) as background:
        outcomes = []
        for number in range(20):
            under_way.add(str(number))
            for name, error in background.add(str(number), number):
                outcomes.append((name, error))
                under_way.discard(name)
            most[0] = max(most[0], len(under_way))
        outcomes += background.rest()
    assert sorted(done) == list(range(20))
    assert [name for name, _ in outcomes] == [str(number) for number in range(20)]
    assert most[0] <= 3


def test_a_full_queue_waits_for_the_oldest():
    go = threading.Event()
    background = Background(lambda _: go.wait(30), threads=1, waiting=1)
    with background:
        assert list(background.add("a", None)) == []
        threading.Timer(0.05, go.set).start()
        assert list(background.add("b", None)) == [("a", None)], "b waits until a is written"
        assert list(background.rest()) == [("b", None)]


def test_errors_come_back_as_the_cases_own():
    known = DiskFull("x.nii.gz", "/")

    def write(error: Exception) -> None:
        raise error

    with Background(write, threads=2, waiting=2) as background:
        outcomes = [*background.add("a", ValueError("no such colour"))]
        outcomes += [*background.add("b", known), *background.rest()]
    (a, failed), (b, full) = outcomes
    assert (a, b) == ("a", "b") and full is known
    assert isinstance(failed, CaseFailed)
    assert str(failed) == "case a failed at writing: ValueError: no such colour"


def test_left_by_an_error_what_waits_is_given_up_and_what_runs_is_finished():
    started, finished = [], []
    go, running = threading.Event(), threading.Event()

    def write(name: str) -> None:
        started.append(name)
        running.set()
        go.wait(30)
        finished.append(name)

    try:
        with Background(write, threads=1, waiting=3) as background:
            for name in "abc":
                list(background.add(name, name))
            assert running.wait(30)
            threading.Timer(0.05, go.set).start()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert started == finished == ["a"]
