"""Memory that is free or allowed: of the machine, and of the control group of a cluster's job."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its children may still take; None where it cannot be told.

    Parameters
    ----------
    root : where ``proc`` and ``sys`` lie
    """
    limits = [*_of_the_machine(root), *_of_control_groups(root)]
    return max(0, min(limits)) if limits else None


def _of_the_machine(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    with suppress(ValueError, OSError, AttributeError):  # no Linux: what is built in
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit(root: Path = Path("/")) -> float:
    """Bytes that the control groups of this process allow; infinite where they set no limit.

    Parameters
    ----------
    root : where ``proc`` and ``sys`` lie
    """
    limits = [math.inf]
    for group, (limit, _, _) in _control_groups(root):
        with suppress(OSError, ValueError):  # no such file, or no limit ("max")
            limits.append(float((group / limit).read_text()))
    return min(limits)


def _of_control_groups(root: Path) -> Iterator[int]:
    """What is left in the control group of this process and in those around it."""
    for group, files in _control_groups(root):
        yield from _left_in(group, *files)


def _control_groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The control groups of this process, version 1 or 2, and the names of their memory files:
    limit, usage, and the prefix of the statistics."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers == "":
                mount, files = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
            elif "memory" in controllers.split(","):
                mount = root / "sys/fs/cgroup/memory"
                files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            else:
                continue
            group = mount / name.lstrip("/")
            for folder in (group, *group.parents):
                # In a container the name may be the host's, and only the groups around it be here.
                yield folder, files
                if folder == mount:
                    break


def _left_in(group: Path, limit: str, usage: str, prefix: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # no such file, or no limit ("max")
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        # Cached files count as used, but give way.
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield most - used + int(statistics.get(f"{prefix}inactive_file", 0))


def affordable(processes: int, task_bytes: int) -> int:
    """How many of `processes` fit into the memory that is free, at least one; said where fewer."""
    free = available_bytes()
    if free is None or processes * task_bytes <= free:
        return processes
    fit = max(1, free // task_bytes)
    logger.warning(
        "a case needs about %.1f GB of memory, and %.1f GB are free: %s",
        task_bytes / 1e9,
        free / 1e9,
        f"{fit} at a time, not {processes}" if fit < processes else "it may not suffice",
    )
    return fit
