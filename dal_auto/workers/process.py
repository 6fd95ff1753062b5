"""Worker processes, each with a pipe of its own, so that one that dies takes nothing with it.

Pools share a queue and its lock among their workers: one that is killed while it holds the lock
stops them all (`concurrent.futures` and Pebble alike). Here the parent's end of the pipe is all
there is: it brings the steps that the task enters, then its outcome, or, when the process has died,
its end. The parent also keeps the time: code in C++ may hold the interpreter and cannot be
interrupted from within.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from threading import Lock
from typing import Any

from dal_auto.errors import CaseFailed, DalError
from dal_auto.workers import progress as stopwatch
from dal_auto.workers.threads import capped_threads

# Spawned, not forked: torch and ITK hold threads that a fork would copy half-way.
_SPAWN = multiprocessing.get_context("spawn")
_OURS = "DAL_"  # environment variables


class Casualty(CaseFailed):
    """A case whose process died or ran out of memory: worth one more try, alone."""


@dataclass(frozen=True)
class Surroundings:
    """What a task finds around it, on whichever machine it runs.

    Parameters
    ----------
    threads : that its libraries may use
    folder : working folder, from which relative paths count
    variables : names and values of the environment variables that say where data live
    """

    threads: int
    folder: str
    variables: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls, threads: int) -> Surroundings:
        """Those of this process."""
        variables = sorted((k, v) for k, v in os.environ.items() if k.startswith(_OURS))
        return cls(threads, str(Path.cwd()), tuple(variables))


@dataclass(frozen=True)
class Job:
    """One task for one worker.

    Parameters
    ----------
    name : the case
    work : (function, task, name), pickled: only the worker process unpacks it, and loads the
        libraries that this takes
    step_limit_s : longest a step may take; None for no limit
    """

    name: str
    work: bytes
    surroundings: Surroundings
    step_limit_s: float | None

    @classmethod
    def pack(
        cls,
        function: Callable[[Any], Any],
        task: Any,
        name: str,
        surroundings: Surroundings,
        step_limit_s: float | None,
    ) -> Job:
        work = bytes(ForkingPickler.dumps((function, task, name)))
        return cls(name, work, surroundings, step_limit_s)


def attempt(function: Callable[[Any], Any], task: Any, name: str, threads: int) -> Any:
    """The result of a task, or the `DalError` that says why there is none."""
    stopwatch.begin_task()
    try:
        with capped_threads(threads):
            return function(task)
    except DalError as error:
        error.step = error.step or stopwatch.current_step()
        return error
    except MemoryError as error:
        return Casualty(name, stopwatch.current_step(), f"memory did not suffice ({error})")
    except Exception as error:
        failure = CaseFailed(name, stopwatch.current_step(), f"{type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
        return failure


def _serve(connection: Connection, surroundings: Surroundings, scratch: str | None) -> None:
    """The worker: one task after another, until the parent's end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    tempfile.tempdir = scratch
    os.chdir(surroundings.folder)
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    os.environ.update(surroundings.variables)
    stopwatch.listen(connection.send)
    with suppress(EOFError, OSError), capped_threads(surroundings.threads):
        while True:
            function, task, name = connection.recv()
            outcome = attempt(function, task, name, surroundings.threads)
            try:
                connection.send((outcome,))
            except OSError:
                raise
            except Exception as error:  # it cannot be pickled
                connection.send((CaseFailed(name, "handing over the result", str(error)),))


def _descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs: a tool may be a script."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # of every thread
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _descendants(child)


class _Worker:
    """A worker process, seen from its parent."""

    #: Python's list of child processes is not made for threads that start and end them at once.
    _lock = Lock()

    def __init__(self, surroundings: Surroundings, scratch: str | None) -> None:
        self.surroundings = surroundings
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, surroundings, scratch), daemon=True
        )
        with self._lock:
            self._process.start()
        theirs.close()

    def run(self, job: Job) -> Any:
        """The outcome of a job; after a `Casualty` or a limit the worker is no more.

        Raises
        ------
        DalError
            if the process cannot so much as start: nor could any other.
        """
        step, limit_s = None, None
        with suppress(EOFError, OSError):  # its end of the pipe is closed
            self._connection.send_bytes(job.work)
            while ready := wait([self._connection, self._process.sentinel], limit_s):
                if self._connection not in ready:
                    break
                message = self._connection.recv()
                if isinstance(message, tuple):
                    return message[0]
                # From the first step on: before it the worker starts and loads its libraries.
                step, limit_s = message, job.step_limit_s
            if not ready:
                self.end()
                cause = f"it took longer than {job.step_limit_s:g} s (--step-limit)"
                return CaseFailed(job.name, step or stopwatch.RUNNING, cause)
        cause = self._cause_of_death()
        if step is None and (self._process.exitcode or 0) > 0:
            raise DalError(f"a worker process cannot start ({cause}); what it printed says why")
        return Casualty(job.name, step or stopwatch.RUNNING, f"its worker process died ({cause})")

    def _cause_of_death(self) -> str:
        with self._lock:
            self._process.join(10)
        self.end()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.strsignal(-code)}" + (
            "; most likely memory did not suffice: try fewer workers, -np"
            if -code == signal.SIGKILL
            else ""
        )

    @property
    def alive(self) -> bool:
        with self._lock:
            return self._process.is_alive()

    def end(self) -> None:
        """Kill the process, and the tools that it has started, where the system tells them."""
        with self._lock:
            if self._process.is_alive():
                # All are found before one is ended: an orphan's parent is no longer told.
                for tool in [*_descendants(self._process.pid or 0)]:
                    with suppress(OSError):
                        os.kill(tool, signal.SIGKILL)
                self._process.kill()
            self._process.join()


class Crew:
    """The worker processes of a run: started when needed, used again, safe to share by threads.

    Parameters
    ----------
    scratch : folder for their temporary files, which who made it removes when they have ended;
        None for the system's
    """

    def __init__(self, scratch: str | None = None) -> None:
        self._scratch = scratch
        self._lock = Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    def run(self, job: Job) -> Any:
        """Run a job in a worker; returns the result, or the `DalError` that it ended with."""
        worker = self._take(job.surroundings)
        try:
            return worker.run(job)
        finally:
            with self._lock:
                self._busy.discard(worker)
                if worker.alive and not self._closed:
                    self._idle.append(worker)

    def _take(self, surroundings: Surroundings) -> _Worker:
        with self._lock:
            if self._closed:
                raise RuntimeError("the crew is dismissed")
            self._idle = [worker for worker in self._idle if worker.alive]
            fitting = [worker for worker in self._idle if worker.surroundings == surroundings]
            if fitting:
                worker = fitting[-1]
                self._idle.remove(worker)
            else:
                worker = _Worker(surroundings, self._scratch)
            self._busy.add(worker)
        return worker

    def dismiss_idle(self) -> None:
        """End the workers that have nothing to do, and give their memory back."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def close(self) -> None:
        """End all workers, at once, also those at work."""
        with self._lock:
            self._closed = True
            workers, self._idle = [*self._idle, *self._busy], []
        for worker in workers:
            worker.end()
