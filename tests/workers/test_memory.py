"""Free memory is what the machine and every control group around the process leave."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dal_auto.workers import memory
from dal_auto.workers.memory import affordable, available_bytes, memory_limit

GB = 1_000_000_000


@pytest.fixture
def root(tmp_path) -> Path:
    """A machine with 8 GB free and no control group."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:  {8 * GB // 1024} kB\n")
    write(tmp_path / "proc/self/cgroup", "2:cpu:/")
    return tmp_path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")


def version_2(group: Path, most: object, used: int, cached: int = 0) -> None:
    write(group / "memory.max", most)
    write(group / "memory.current", used)
    write(group / "memory.stat", f"anon 5\ninactive_file {cached}")


def version_1(group: Path, most: int, used: int, cached: int = 0) -> None:
    write(group / "memory.limit_in_bytes", most)
    write(group / "memory.usage_in_bytes", used)
    write(group / "memory.stat", f"inactive_file 1\ntotal_inactive_file {cached}")


def test_without_control_groups_it_is_the_machines(root):
    assert available_bytes(root) == 8 * GB // 1024 * 1024


def test_a_group_of_version_2_and_those_around_it_count(root):
    write(root / "proc/self/cgroup", "0::/slurm/job_7/step_0")
    version_2(root / "sys/fs/cgroup/slurm/job_7/step_0", "max", 1 * GB)
    version_2(root / "sys/fs/cgroup/slurm/job_7", 4 * GB, 2 * GB, cached=GB // 2)
    assert available_bytes(root) == 2.5 * GB


def test_a_group_of_version_1_counts(root):
    write(root / "proc/self/cgroup", "9:name=systemd:/x\n4:memory:/slurm/job_7\n3:cpu,cpuset:/")
    version_1(root / "sys/fs/cgroup/memory/slurm/job_7", 4 * GB, 3 * GB, cached=GB // 2)
    version_1(root / "sys/fs/cgroup/memory", 1 << 62, 3 * GB)
    assert available_bytes(root) == 1.5 * GB


def test_the_limit_is_the_lowest_of_all_groups(root):
    write(root / "proc/self/cgroup", "0::/slurm/job_7/step_0")
    version_2(root / "sys/fs/cgroup/slurm/job_7/step_0", "max", 1 * GB)
    version_2(root / "sys/fs/cgroup/slurm/job_7", 4 * GB, 2 * GB)
    version_2(root / "sys/fs/cgroup/slurm", 6 * GB, 2 * GB)
    assert memory_limit(root) == 4 * GB


def test_without_a_limit_it_is_infinite(root):
    assert memory_limit(root) == float("inf")


def test_in_a_container_the_groups_name_may_be_the_hosts(root):
    write(root / "proc/self/cgroup", "0::/docker/abc")
    version_2(root / "sys/fs/cgroup", 3 * GB, 1 * GB)
    assert available_bytes(root) == 2 * GB


def test_a_group_without_room_leaves_nothing(root):
    write(root / "proc/self/cgroup", "0::/")
    version_2(root / "sys/fs/cgroup", 1 * GB, 2 * GB)
    assert available_bytes(root) == 0


def test_this_machine_has_some_memory():
    assert available_bytes() > 1_000_000


@pytest.mark.parametrize(
    ("free", "processes", "fit", "said"),
    [
        (8 * GB, 4, 4, ""),
        (8 * GB - 1, 4, 3, "needs about 2.0 GB of memory, and 8.0 GB are free: 3 at a time, not 4"),
        (1 * GB, 4, 1, "1 at a time, not 4"),
        (1 * GB, 1, 1, "it may not suffice"),
        (None, 4, 4, ""),
    ],
)
def test_as_many_as_fit_but_never_none(monkeypatch, caplog, free, processes, fit, said):
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    with caplog.at_level(logging.WARNING):
        assert affordable(processes, 2 * GB) == fit
    assert said in caplog.text and bool(said) == bool(caplog.text)
