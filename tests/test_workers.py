"""Parallel work: no failing or dying task stops another, and each failure is named.

Tasks are calls (`operator.call` runs them), since a spawned worker must be able to import them.
"""

from __future__ import annotations

import operator
import os
from functools import partial
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from dal_auto import workers
from dal_auto.errors import CaseFailed, InputError
from dal_auto.nifti import read_image
from dal_auto.workers import Workforce


@pytest.fixture(autouse=True)
def threads_are_given_back():
    torch_threads = torch.get_num_threads()
    itk_threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(torch_threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk_threads)


@pytest.fixture
def light_workers(monkeypatch):
    """Workers that do not import torch and ITK, only to cap their threads."""
    monkeypatch.setattr(workers, "_start_worker", abs)


def outcomes(tasks: dict, **options) -> dict:
    force = Workforce(options.pop("workers", 1), options.pop("threads", 1))
    stream = workers.run_tasks(
        operator.call, list(tasks.values()), list(tasks), workforce=force, title="test", **options
    )
    return dict(stream)


@pytest.mark.parametrize("count", [1, 2])
def test_results_and_errors_come_back_under_their_names(light_workers, count):
    missing = Path("no/such/image.nii.gz")
    found = outcomes(
        {
            "fine": partial(divmod, 7, 2),
            "ours": partial(read_image, missing),
            "other": partial(int, "seven"),
        },
        workers=count,
    )
    assert found["fine"] == (3, 1)
    assert isinstance(found["ours"], InputError)
    assert found["ours"].file == missing
    assert isinstance(found["other"], CaseFailed)
    assert found["other"].case_id == "other"
    assert "ValueError: invalid literal" in str(found["other"])


def test_a_dying_worker_is_named_and_the_others_finish(light_workers, caplog):
    tasks = {name: partial(len, name) for name in ("a", "bb", "cccc")}
    tasks["dies"] = partial(os._exit, 9)
    found = outcomes(tasks, workers=2)
    assert {name: found[name] for name in ("a", "bb", "cccc")} == {"a": 1, "bb": 2, "cccc": 4}
    assert isinstance(found["dies"], CaseFailed)
    assert found["dies"].case_id == "dies"
    assert "worker process died" in str(found["dies"])
    assert "fewer workers" in str(found["dies"])
    assert "one by one" in caplog.text


def test_workers_are_processes_of_their_own_with_capped_threads():
    found = outcomes(
        {"threads": torch.get_num_threads, "variable": partial(os.getenv, "OMP_NUM_THREADS")},
        workers=2,
        threads=3,
    )
    assert found == {"threads": 3, "variable": "3"}


def test_one_worker_is_this_process_and_gets_all_threads():
    assert outcomes({"a": os.getpid, "b": os.getpid}) == dict.fromkeys("ab", os.getpid())
    assert outcomes({"only": torch.get_num_threads}, workers=3, threads=2) == {"only": 6}


def test_results_come_as_they_finish_not_at_the_end():
    done: list[str] = []
    tasks = [partial(done.append, "first"), partial(done.append, "second")]
    stream = workers.run_tasks(
        operator.call, tasks, ["1", "2"], workforce=Workforce(1), title="test"
    )
    next(stream)
    assert done == ["first"]


def test_who_stops_listening_ends_the_work(light_workers, tmp_path):
    tasks = [partial(os.system, f"sleep 0.1; touch '{tmp_path / str(n)}'") for n in range(12)]
    names = [str(n) for n in range(12)]
    stream = workers.run_tasks(operator.call, tasks, names, workforce=Workforce(2), title="test")
    next(stream)
    stream.close()
    assert 1 <= len(list(tmp_path.iterdir())) < 12


def test_no_task_is_no_result():
    assert outcomes({}, workers=4) == {}


def test_at_least_one_core_is_available():
    assert 1 <= workers.available_cores() <= (os.cpu_count() or 1)
