"""Work on a Dask cluster: its workers start worker processes of our own, beside themselves.

So a case is guarded there as it is here: its threads are capped before a library is loaded, its
steps are known and limited, and a crash ends our process and not Dask's.
"""

from __future__ import annotations

import logging
import multiprocessing
import socket
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from dal_auto.errors import CaseFailed, MissingDependency, UsageError
from dal_auto.workers.process import Casualty, Crew, Job

logger = logging.getLogger(__name__)

_CONNECT_S = 10
#: Jobs that may wait in the cluster's queue beyond what its present workers can do.
_QUEUE = 64
#: What a result hangs on, beside Python itself.
_PACKAGES = (
    "dal-auto",
    "numpy",
    "scipy",
    "SimpleITK",
    "picsl-greedy",
    "deepbet",
    "torch",
    "blosc2",
)

_crew = Crew()
"""Where this process is a Dask worker: the worker processes that it has started."""


@dataclass(frozen=True)
class _Report:
    """What a Dask worker sends back."""

    outcome: Any
    machine: str
    versions: dict[str, str]


def _versions() -> dict[str, str]:
    found = {"python": python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _run_job(job: Job) -> _Report:
    """Run by a Dask worker: do the job in a process of our own."""
    machine, folder = socket.gethostname(), job.surroundings.folder
    if not Path(folder).is_dir():
        cause = f"{machine} does not see {folder}: all machines need the same file system"
        return _Report(CaseFailed(job.name, "reaching its files", cause), machine, _versions())
    # Dask's nanny starts workers as daemons. Python lets these have no children, so that none is
    # left behind. Ours end when the pipe to their parent does.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return _Report(_crew.run(job), machine, _versions())


def _dismiss() -> None:
    _crew.dismiss_idle()


@dataclass(frozen=True)
class _Cluster:
    client: Any
    executor: Executor
    address: str
    said: set[str] = field(default_factory=set)

    def submit(self, job: Job) -> Future[Any]:
        return self.executor.submit(_run_job, job)

    def at_once(self) -> int:
        try:
            return _QUEUE + 2 * sum(self.client.nthreads().values())
        except OSError as error:
            raise self._gone() from error

    def outcome(self, job: Job, done: Future[Any]) -> Any:
        from distributed import KilledWorker

        try:
            report = done.result()
        except CancelledError as error:
            raise self._gone() from error
        except KilledWorker as error:
            count, last = error.allowed_failures + 1, error.last_worker.address
            return Casualty(
                job.name, "running", f"{count} Dask workers that had it died, last {last}"
            )
        except Exception as error:
            cause = f"{type(error).__name__}: {error}; all machines need the same environment"
            return CaseFailed(job.name, "reaching a Dask worker", cause)
        self._compare(report)
        return report.outcome

    def _gone(self) -> UsageError:
        return UsageError(
            f"the Dask scheduler at {self.address} is gone. Start one and run the same command "
            "again: what is done is kept."
        )

    def _compare(self, report: _Report) -> None:
        here = _versions()
        differing = ", ".join(
            f"{name} {report.versions.get(name, 'missing')} (here {here.get(name, 'missing')})"
            for name in sorted(here.keys() | report.versions.keys())
            if here.get(name) != report.versions.get(name)
        )
        if differing and report.machine not in self.said:
            self.said.add(report.machine)
            logger.warning("%s has %s: results may differ", report.machine, differing)


@contextmanager
def cluster(address: str) -> Iterator[_Cluster]:
    """The cluster whose scheduler listens at `address`.

    Raises
    ------
    UsageError
        if nobody answers there, or the scheduler goes away.
    """
    try:
        from distributed import Client
        from distributed.comm import resolve_address
    except ImportError:
        raise MissingDependency(
            "dask.distributed", "Install it with `pip install 'dal-auto[dask]'`."
        ) from None
    try:
        resolve_address(address)  # the client itself would hang on one that it cannot read
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address} ({error}). Start one with `dask scheduler`; "
            "it prints its address."
        ) from error
    with client:
        if not client.nthreads():
            logger.warning("the Dask scheduler at %s has no workers yet: waiting for them", address)
        executor = client.get_executor(pure=False)  # a job tried again is not the same job
        try:
            yield _Cluster(client, executor, address)
        finally:
            executor.shutdown(wait=False)
            with suppress(Exception):  # gone with the scheduler
                client.run(_dismiss)
