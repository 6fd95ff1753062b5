"""The hardware is what this machine has, or what the user named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dal_auto.planning import hardware
from dal_auto.planning.hardware import Hardware


def test_hardware_without_gpu_is_the_cpu_and_its_memory(monkeypatch):
    monkeypatch.setattr(hardware, "memory_limit", lambda: math.inf)
    found = Hardware.measure("cpu")
    assert (found.device, found.kind, found.on_paper) == ("cpu", "cpu", False)
    total_kb = int(Path("/proc/meminfo").read_text().split()[1])
    assert found.memory_gb == pytest.approx(total_kb * 1024 / 1e9, rel=0.01)


@pytest.mark.parametrize(("limit", "limited"), [(2e9, True), (math.inf, False)])
def test_a_limit_of_the_container_is_all_there_is(monkeypatch, limit, limited):
    monkeypatch.setattr(hardware, "memory_limit", lambda: limit)
    assert (Hardware.measure("cpu").memory_gb == 2.0) is limited


def test_hardware_says_whether_it_was_measured():
    assert Hardware("cuda:1", 80).source == "measured: cuda:1 with 80 GB"
    assert Hardware("cuda:1", 80).kind == "cuda"
    on_paper = Hardware("cuda", 24, on_paper=True)
    assert on_paper.source == "user: --device-memory, cuda with 24 GB"
