"""Many tasks, some workers: results as they come, and each failure under the name of its case."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dal_auto.errors import DalError, DiskFull
from dal_auto.store.temporary import temporary_folder
from dal_auto.workers.bars import progress
from dal_auto.workers.cluster import cluster
from dal_auto.workers.memory import affordable
from dal_auto.workers.process import Casualty, Crew, Job, Surroundings, attempt

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workforce:
    """Who does the work.

    Parameters
    ----------
    processes : how many tasks run at once on this machine
    threads : in each of them
    scheduler : address of a Dask scheduler whose workers do it; None for processes of our own
    step_limit_s : longest a single step of a task may take; None for no limit
    one_here : a task that is alone runs in this process, unguarded and without a limit, which saves
        the seconds that another takes to load the libraries
    """

    processes: int
    threads: int = 1
    scheduler: str | None = None
    step_limit_s: float | None = None
    one_here: bool = False

    def at_once(self, tasks: int) -> int:
        """How many threads each of so many tasks may start for work side by side: the processes
        that would have nothing to do."""
        return 1 if self.scheduler is not None else max(1, self.processes // max(1, tasks))

    def works_here(self, tasks: int) -> bool:
        """Whether so many tasks run in this process: there is no neighbour to guard against and no
        limit to keep, and a debugger stays where the work is."""
        if self.scheduler is not None:
            return False
        return (self.processes == 1 and self.step_limit_s is None) or (self.one_here and tasks == 1)


class Team(Protocol):
    """Where jobs go and outcomes come from: this machine or a cluster."""

    def submit(self, job: Job) -> Future[Any]: ...

    def outcome(self, job: Job, done: Future[Any]) -> Any:
        """The result of a job that is done, or the `DalError` it ended with."""

    def at_once(self) -> int:
        """How many jobs may be under way, those included whose outcome nobody took yet."""


@dataclass(frozen=True)
class _OwnProcesses:
    crew: Crew
    threads: ThreadPoolExecutor  # each waits for one worker at a time
    processes: int

    def submit(self, job: Job) -> Future[Any]:
        return self.threads.submit(self.crew.run, job)

    def outcome(self, job: Job, done: Future[Any]) -> Any:
        return done.result()

    def at_once(self) -> int:
        return 2 * self.processes


@contextmanager
def _own_processes(processes: int) -> Iterator[Team]:
    # Workers are killed at work, and then remove no temporary folder of theirs: it lies in ours.
    with (
        temporary_folder("dal_workers_") as scratch,
        ThreadPoolExecutor(processes) as threads,
    ):
        crew = Crew(str(scratch))
        try:
            yield _OwnProcesses(crew, threads, processes)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            crew.close()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
    *,
    workforce: Workforce,
    title: str,
    task_bytes: int = 0,
) -> Generator[tuple[str, Result | DalError]]:
    """Run `function` on every task, yielding (name, result or error) as they finish.

    A task whose process dies is named at once and tried once more, alone, when all others are done:
    it is mostly its neighbours that took the memory.

    Parameters
    ----------
    function : importable by a worker; errors of our own are results, others become `CaseFailed`
    names : one name per task, for progress and errors
    workforce : see `Workforce.works_here`
    title : heads the progress bar
    task_bytes : memory that one task needs at its peak; fewer run at once where it is scarce

    Raises
    ------
    DiskFull
        if a task found no room for a file: every further one would find none either.
    """
    processes = max(1, min(workforce.processes, len(tasks)))
    if workforce.scheduler is None and task_bytes:
        processes = affordable(processes, task_bytes)
    if workforce.works_here(len(tasks)):
        outcomes: Generator[tuple[str, Any]] = (
            (name, attempt(function, task, name, workforce.threads))
            for task, name in zip(tasks, names, strict=True)
        )
    else:
        surroundings = Surroundings.here(workforce.threads)
        jobs = [
            Job.pack(function, task, name, surroundings, workforce.step_limit_s)
            for task, name in zip(tasks, names, strict=True)
        ]
        outcomes = _guarded(jobs, workforce.scheduler, processes)
    bar = progress(title, "case", total=len(tasks))
    with closing(outcomes), bar:
        for name, outcome in outcomes:
            if isinstance(outcome, DiskFull):
                raise outcome
            if isinstance(outcome, DalError):
                for note in getattr(outcome, "__notes__", ()):
                    logger.debug("case %s\n%s", name, note)
            bar.update()
            yield name, outcome


def _guarded(
    jobs: Sequence[Job], scheduler: str | None, processes: int
) -> Generator[tuple[str, Any]]:
    """Jobs in worker processes; those whose process died once more, one by one."""
    casualties = []
    with _team(scheduler, processes) as team:
        for job, outcome in _gather(team, jobs):
            if isinstance(outcome, Casualty):
                logger.warning("%s; it is tried once more at the end, alone", outcome)
                casualties.append(job)
            else:
                yield job.name, outcome
    if casualties:
        with _team(scheduler, 1) as team:
            for job in casualties:
                yield from ((job.name, outcome) for _, outcome in _gather(team, [job]))


def _team(scheduler: str | None, processes: int) -> AbstractContextManager[Team]:
    return _own_processes(processes) if scheduler is None else cluster(scheduler)


def _gather(team: Team, jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
    """Jobs with their outcomes, as they finish; never more results in memory than are under way."""
    waiting, running = deque(jobs), dict[Future[Any], Job]()
    while waiting or running:
        while waiting and len(running) < team.at_once():
            job = waiting.popleft()
            running[team.submit(job)] = job
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        while done:
            future = done.pop()
            job = running.pop(future)
            yield job, team.outcome(job, future)
