"""The device that trains, and its memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from dal_auto.workers.memory import memory_limit


@dataclass(frozen=True)
class Hardware:
    """The device that trains, and its memory in GB (10⁹ bytes).

    Parameters
    ----------
    device : as torch names it
    memory_gb : all of it
    on_paper : named by the user, not measured on this machine
    """

    device: str
    memory_gb: float
    on_paper: bool = False

    @classmethod
    def measure(cls, device: str | None = None) -> Hardware:
        """The device asked for, else CUDA, else MPS, else the CPU."""
        if device is None:
            mps = torch.backends.mps.is_available()
            device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
        if device.startswith("cuda"):
            memory = float(torch.cuda.get_device_properties(device).total_memory)
        else:
            physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            memory = min(float(physical), memory_limit())
        return cls(device, memory / 1e9)

    @property
    def kind(self) -> str:
        """cuda, mps or cpu."""
        return self.device.split(":")[0]

    @property
    def source(self) -> str:
        """Where the figures come from, as the plans say it."""
        told = f"{self.device} with {self.memory_gb:.0f} GB"
        return f"user: --device-memory, {told}" if self.on_paper else f"measured: {told}"
