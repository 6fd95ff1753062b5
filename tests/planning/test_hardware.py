"""The hardware is what this machine has, or what the user named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dal_auto.errors import UsageError
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


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "no such device. Known are cuda, cuda:1, mps and cpu"),
        ("cuda:x", "no such device"),
        ("meta", "no such device"),
        ("cpu:7", "it has 1, counted from 0"),
    ],
)
def test_a_device_that_is_none_is_refused_by_name(device: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Hardware.measure(device)
    assert f"--device {device}: " in str(caught.value) and said in str(caught.value)


def test_cuda_without_cuda_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"torch finds none here.*use --device cpu"):
        Hardware.measure("cuda")


def test_a_gpu_too_many_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="it has 2, counted from 0"):
        Hardware.measure("cuda:2")
