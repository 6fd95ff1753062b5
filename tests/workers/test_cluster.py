"""What is said when a Dask cluster is not what it should be; end_to_end/test_dask starts one."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import Future

import pytest

from dal_auto.errors import CaseFailed, MissingDependency, UsageError
from dal_auto.workers import cluster as module
from dal_auto.workers.cluster import _Cluster, _Report, _run_job, cluster
from dal_auto.workers.process import Job, Surroundings

JOB = Job.pack(abs, -1, "a", Surroundings.here(1), None)


def done(result: object = None) -> Future:
    future: Future = Future()
    future.set_result(result)
    return future


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "node1", "tcp://node1", "foo://node1:8786", "localhost:1"]
)
def test_nobody_at_an_address_is_an_error_that_names_it(monkeypatch, address):
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "_CONNECT_S", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers") as caught, cluster(address):
        pass
    assert f"at {address} (" in str(caught.value) and "dask scheduler" in str(caught.value)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency, match=r"dal-auto\[dask\]"), cluster("tcp://node1:8786"):
        pass


def test_a_machine_that_does_not_see_the_files_is_named():
    job = Job.pack(abs, -1, "a", Surroundings(1, "/no/such/folder", ()), None)
    report = _run_job(job)
    assert isinstance(report.outcome, CaseFailed)
    assert f"{report.machine} does not see /no/such/folder" in str(report.outcome)


def test_a_scheduler_that_goes_away_ends_the_run():
    pytest.importorskip("distributed")
    future: Future = Future()
    future.cancel()
    team = _Cluster(None, None, "tcp://node1:8786")
    with pytest.raises(UsageError, match=r"tcp://node1:8786 is gone.*kept"):
        team.outcome(JOB, future)


def test_other_versions_on_a_machine_are_said_once(caplog):
    pytest.importorskip("distributed")
    team = _Cluster(None, None, "tcp://node1:8786")
    other = module._versions() | {"numpy": "1.0"}
    del other["scipy"]
    with caplog.at_level(logging.WARNING):
        for machine, versions in (("n1", module._versions()), ("n2", other), ("n2", other)):
            assert team.outcome(JOB, done(_Report(1, machine, versions))) == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("n2 has numpy 1.0 (here ")
    assert "scipy missing" in record.getMessage()


def test_an_environment_that_lacks_something_is_a_failure_of_the_case():
    pytest.importorskip("distributed")
    future: Future = Future()
    future.set_exception(ModuleNotFoundError("No module named 'dal_auto'"))
    outcome = _Cluster(None, None, "").outcome(JOB, future)
    assert isinstance(outcome, CaseFailed)
    assert "No module named 'dal_auto'" in str(outcome) and "same environment" in str(outcome)
