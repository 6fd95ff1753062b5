"""The simulated cohort of the quality benchmarks, and dal_auto's own commands in its folder.

Healthy and lesioned heads with skull, T1 and T2: from the label maps of DAL_TEST_DATA where it is
there (14 heads for training, 6 others for the lesions, whose white-matter lesions have the shapes
of MSLUB's masks), else from the embedded atlases. No head stands on both sides. The commands
resume: what was simulated, preprocessed, trained or scored before is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from preprocessing_parts.cases import test_data

from dal_auto.plans import Plans

_COMMANDS = Path(sys.executable).parent
HEALTHY, LESIONED = "SimHealthy", "SimLesions"
#: Voxels of 2 mm are twice as fine as the grid that is trained on. greedy without its finest level
#: and N4 on 6 mm are `make demo`'s, too.
COHORT = ("--healthy", "56", "--lesioned", "12", "--spacing", "2")
CHAIN = (
    *("--set", "preprocessing.registration_iterations=100x50x0"),
    *("--set", "preprocessing.n4_spacing_mm=6.0"),
)


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

    def prepare(self) -> None:
        """Simulate and preprocess the cohort."""
        data = test_data()
        sources = []
        if data is not None:
            sources += ["--heads", data / "label_maps"]
            sources += ["--lesion-masks", data / "mslub_lesion_masks"]
        self.run("dal_datasets", "simulate", *COHORT, *sources)
        self.run("dal_plan_and_preprocess", "-d", HEALTHY, LESIONED, *CHAIN)

    def train(self, method: str, changes: Mapping[str, Any], seed: int = 0) -> tuple[str, Used]:
        """Train a method in the `demo` configuration, or find that it was.

        Returns
        -------
        the run's name in the report; what the command used, which is little for a run found
        """
        sets = [
            w for key, value in changes.items() for w in ("--set", f"{key}={json.dumps(value)}")
        ]
        arguments = ("-d", HEALTHY, "-c", "demo", "-m", method, "--device", "cpu", "--seed", seed)
        used = self.run("dal_train", *arguments, *sets)
        for folder in (self.path / "results" / HEALTHY).glob(f"{method}__*/seed_{seed}"):
            plans = Plans.parse(json.loads((folder / "plans.json").read_text("utf-8")))
            own = {k: value for k, value, source in plans.flat() if source == "user: --set"}
            if own == changes:
                return str(folder.relative_to(self.path / "results")), used
        raise SystemExit(f"no run of {method} has the changes {dict(changes)}")

    def results(self) -> pd.DataFrame:
        """The report's table: a row per dataset, sequence and run."""
        return pd.read_csv(self.path / "results" / "report" / "results.csv")


def add_home(parser: argparse.ArgumentParser) -> None:
    """The option that names the folder."""
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(__file__).parent / ".cache" / "quality",
        help="DAL_HOME of cohort, runs and report; kept, so that a second call goes on",
    )
