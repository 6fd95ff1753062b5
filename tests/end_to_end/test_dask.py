"""A Dask cluster of a scheduler and two workers, started here, gives what one machine gives."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from dal_auto.errors import CaseFailed
from dal_auto.workers import Workforce, run_tasks

pytest.importorskip("distributed", reason="pip install 'dal-auto[dask]'")
pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers of one thread, which know nothing of DAL_HOME."""
    folder = tmp_path_factory.mktemp("dask")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
    # A task that kills its Dask worker is given up at once, not after three more.
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
    dask = Path(sys.executable).parent / "dask"
    file = folder / "scheduler.json"
    common = ["--scheduler-file", file, "--no-dashboard"]
    processes = []

    def start(*arguments: object) -> None:
        process = subprocess.Popen(
            [dask, *map(str, arguments)],
            cwd=folder,
            env=environment,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        processes.append(process)

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", 0, *common)
        for _ in range(2):
            start("worker", "--nthreads", 1, *common)
        deadline = time.monotonic() + 60
        while not file.is_file():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def outcomes(scheduler: str, tasks: dict, **options) -> dict:
    force = Workforce(1, scheduler=scheduler, **options)
    return dict(
        run_tasks(operator.call, list(tasks.values()), list(tasks), workforce=force, title="test")
    )


def source(text: str, **names: object) -> partial:
    return partial(exec, dedent(text), names)


def test_preprocessing_on_a_cluster_gives_the_same_bytes(home, scheduler, tmp_path):
    outcome = home.run(
        "dal_plan_and_preprocess",
        *("-d", "SimHealthy", "--scheduler", scheduler, *home.chain),
        DAL_PREPROCESSED=str(tmp_path),
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert "3 cases done, 0 kept from before, 0 failed" in outcome.stderr
    local = home.path / "preprocessed" / "SimHealthy"
    files = ["fingerprint.json", "preprocessing.json", "failures.csv"]
    files += [str(path.relative_to(local)) for path in (local / "cases").iterdir()]
    assert len(files) == 3 + 6
    for name in files:
        assert (tmp_path / "SimHealthy" / name).read_bytes() == (local / name).read_bytes(), name


def test_a_task_finds_there_what_it_finds_here(scheduler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAL_HOME", "elsewhere")
    tasks = {"folder": os.getcwd, "home": partial(os.getenv, "DAL_HOME")}
    tasks["threads"] = partial(os.getenv, "OMP_NUM_THREADS")
    found = outcomes(scheduler, tasks, threads=3)
    assert found == {"folder": str(tmp_path), "home": "elsewhere", "threads": "3"}


def test_a_case_that_dies_or_takes_too_long_costs_no_other(scheduler, tmp_path):
    tasks = {str(n): partial(abs, n) for n in range(5)}
    tasks["dies"] = source("""
        import os, signal
        from dal_auto.workers.progress import Stopwatch
        with Stopwatch().step("N4"):
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    tasks["hangs"] = source("""
        import time
        from dal_auto.workers.progress import Stopwatch
        with Stopwatch().step("rigid"):
            time.sleep(600)
    """)
    found = outcomes(scheduler, tasks, step_limit_s=2)
    dead, late = found.pop("dies"), found.pop("hangs")
    assert found == {str(n): n for n in range(5)}
    assert isinstance(dead, CaseFailed) and dead.step == "N4" and "Killed" in dead.cause
    assert isinstance(late, CaseFailed) and late.step == "rigid" and "longer than" in late.cause


def test_a_dask_worker_that_dies_is_named_with_its_case(scheduler):
    tasks = {str(n): partial(abs, n) for n in range(5)}
    tasks["kills"] = source("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    found = outcomes(scheduler, tasks)
    killed = found.pop("kills")
    assert isinstance(killed, CaseFailed) and killed.case_id == "kills"
    assert "Dask workers that had it died" in killed.cause
    # Those that its Dask worker had in its queue count as its victims, and are tried again.
    assert found == {str(n): n for n in range(5)}
