"""The device that trains, and its memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from dal_auto.errors import UsageError
from dal_auto.workers.memory import memory_limit


def require_device(device: str) -> None:
    """See that this machine has a device.

    Parameters
    ----------
    device : as the user names it

    Raises
    ------
    UsageError
        if it has not; the message says what it has.
    """
    try:
        asked = torch.device(device)
    except RuntimeError:
        asked = None
    if asked is None or asked.type not in ("cuda", "mps", "cpu"):
        raise UsageError(f"--device {device}: no such device. Known are cuda, cuda:1, mps and cpu.")
    count = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }[asked.type]
    if (asked.index or 0) >= count:
        found = f"it has {count}, counted from 0" if count else "torch finds none here"
        built = ""
        if asked.type == "cuda" and torch.version.cuda is None:
            built = f" (torch {torch.__version__} is a build without CUDA)"
        raise UsageError(
            f"--device {device}: this machine has no such device: {found}{built}. "
            "Leave --device out for the best there is, or use --device cpu."
        )


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
        """The device asked for, else CUDA, else MPS, else the CPU.

        Raises
        ------
        UsageError
            if there is no such device here.
        """
        if device is not None:
            require_device(device)
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
