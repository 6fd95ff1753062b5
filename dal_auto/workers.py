"""The one seam for parallel work: any `concurrent.futures` executor, local processes by default.

A worker that dies (out of memory, a crash in a C++ library) is news about one case, not the end of
the run: the cases that were in flight are tried again one by one, and the one that kills its worker
again is named.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

from dal_auto.errors import CaseFailed, DalError

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workforce:
    """Who does the work.

    Parameters
    ----------
    processes : how many tasks run at once
    threads : in each of them
    scheduler : address of a Dask scheduler whose workers do it; None for processes of our own
    step_limit_s : longest a single step of a task may take
    """

    processes: int
    threads: int = 1
    scheduler: str | None = None
    step_limit_s: float | None = None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cap_threads(threads: int) -> None:
    """Let ITK and torch in this process use at most `threads` threads."""
    import SimpleITK as sitk
    import torch

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    torch.set_num_threads(threads)


def _start_worker(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = str(threads)
    cap_threads(threads)


def _pool(workers: int, threads: int) -> ProcessPoolExecutor:
    # Spawned, not forked: torch and ITK hold threads that a fork would copy half-way.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(threads,))


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
    *,
    workforce: Workforce,
    title: str,
) -> Iterator[tuple[str, Result | DalError]]:
    """Run `function` on every task, yielding (name, result or error) as they finish.

    Parameters
    ----------
    function : importable by a worker; errors of our own are results, others become `CaseFailed`
    names : one name per task, for progress and errors
    workforce : with one process all runs in this one
    title : heads the progress bar
    """
    workers, threads = workforce.processes, workforce.threads
    with tqdm(total=len(tasks), desc=title, unit="case", dynamic_ncols=True) as bar:
        if workers <= 1 or len(tasks) <= 1:
            cap_threads(threads * max(workers, 1))
            outcomes: Iterator[tuple[int, Result | DalError]] = (
                (index, _outcome(lambda task=task: function(task), names[index]))  # type: ignore[misc]
                for index, task in enumerate(tasks)
            )
        else:
            outcomes = _parallel(function, tasks, names, workers, threads)
        for index, outcome in outcomes:
            bar.update()
            yield names[index], outcome


def _outcome(call: Callable[[], Result], name: str) -> Result | DalError:
    """The result of `call`, or the error that says why there is none."""
    try:
        return call()
    except BrokenProcessPool:
        raise
    except DalError as error:
        return error
    except Exception as error:
        logger.debug("case %s", name, exc_info=True)
        return CaseFailed(name, "unexpected error", f"{type(error).__name__}: {error}")


def _parallel(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
    workers: int,
    threads: int,
) -> Iterator[tuple[int, Result | DalError]]:
    unfinished = set(range(len(tasks)))
    try:
        with _pool(workers, threads) as pool:
            for index, outcome in _collect(pool, function, tasks, names):
                unfinished.discard(index)
                yield index, outcome
    except BrokenProcessPool:
        logger.warning("a worker died; trying %d unfinished cases one by one", len(unfinished))
    for index in sorted(unfinished):
        try:
            with _pool(1, threads) as pool:
                future = pool.submit(function, tasks[index])
                yield index, _outcome(future.result, names[index])
        except BrokenProcessPool:
            cause = "its worker process died; memory may not suffice: try fewer workers (-np 1)"
            yield index, CaseFailed(names[index], "running", cause)


def _collect(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
) -> Iterator[tuple[int, Result | DalError]]:
    futures: dict[Future[Result], int] = {
        executor.submit(function, task): index for index, task in enumerate(tasks)
    }
    try:
        for future in as_completed(futures):
            index = futures[future]
            yield index, _outcome(future.result, names[index])
    finally:
        for future in futures:
            future.cancel()
