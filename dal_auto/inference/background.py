"""Writing while the device computes: a few threads, and never more than a few cases in memory.

Compression and interpolation let go of Python's lock, so that threads are enough, and the arrays
need not travel to another process.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from dal_auto.errors import DalError
from dal_auto.store.failures import case_error

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
#: The name of a task, and the error that it ended with, if it did.
Outcome = tuple[str, DalError | None]


class Background(Generic[Task]):
    """Runs `function` on tasks in threads; leaving it waits for what runs, not for what waits.

    Parameters
    ----------
    threads : that work at once
    waiting : tasks that may be under way; `add` waits where there are as many
    """

    def __init__(self, function: Callable[[Task], None], *, threads: int, waiting: int) -> None:
        self._function, self._waiting = function, waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._under_way: deque[tuple[str, Future[None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, name: str, task: Task) -> Iterator[Outcome]:
        """Take on a task; yields what is done by then, and waits while too much is under way."""
        while self._under_way and (
            len(self._under_way) >= self._waiting or self._under_way[0][1].done()
        ):
            yield self._oldest()
        self._under_way.append((name, self._pool.submit(self._function, task)))

    def rest(self) -> Iterator[Outcome]:
        """Wait for all that is under way."""
        while self._under_way:
            yield self._oldest()

    def _oldest(self) -> Outcome:
        name, future = self._under_way.popleft()
        error = future.exception()
        return name, None if error is None else case_error(name, "writing", error)
