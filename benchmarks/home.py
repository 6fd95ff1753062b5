"""A DAL_HOME of a benchmark, and dal_auto's own commands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_COMMANDS = Path(sys.executable).parent
#: Dataset of the simulated heads with lesions.
LESIONED = "SimLesions"


@dataclass(frozen=True)
class Used:
    """What a command and its children used: minutes of CPU, and its peak memory."""

    minutes: float
    megabytes: float


class Home:
    """A DAL_HOME, and dal_auto's commands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)

    def run(self, command: str, *arguments: object) -> Used:
        """Run a command to its end, showing what it says; returns what it used.

        Raises
        ------
        SystemExit
            if the command fails.
        """
        words = [str(_COMMANDS / command), *map(str, arguments)]
        print(f"\n$ {command} {' '.join(words[1:])}", file=sys.stderr, flush=True)
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        child = subprocess.Popen(words, env=mine | {"DAL_HOME": str(self.path)})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"{command} ended with exit code {child.returncode}")
        return Used((usage.ru_utime + usage.ru_stime) / 60, usage.ru_maxrss / 1000)
