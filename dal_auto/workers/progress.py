"""Which step of its work a process is in, and how long each took.

The seconds go to a log, never into a result. The step is told to whoever listens: a worker's parent
then knows it even if the worker is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: The step of a task that is in none of its named steps.
RUNNING = "running"


@dataclass
class _Stage:
    """Where this process is. One task runs at a time in it, so that one is enough."""

    step: str = RUNNING
    listener: Callable[[str], None] | None = None

    def enter(self, step: str) -> None:
        self.step = step
        if self.listener is not None:
            self.listener(step)


_stage = _Stage()


def listen(listener: Callable[[str], None] | None) -> None:
    """Call `listener` with the name of every step that this process enters from now on."""
    _stage.listener = listener


def begin_task() -> None:
    """A new task begins, in none of its steps yet."""
    _stage.enter(RUNNING)


def current_step() -> str:
    """The step that this process is in; after an error, the one in which it was raised."""
    return _stage.step


@dataclass
class Stopwatch:
    """Seconds by step of one case."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        outer, start = _stage.step, time.perf_counter()
        _stage.enter(name)
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        _stage.enter(outer)
