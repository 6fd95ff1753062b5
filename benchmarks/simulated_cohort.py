"""The simulated cohort of the quality benchmarks, and dal_auto's own commands in its folder.

Healthy and lesioned heads with skull, T1 and T2: from the label maps of DAL_TEST_DATA where it is
there (14 heads for training, 6 others for the lesions, whose white-matter lesions have the shapes
of MSLUB's masks), else from the embedded atlases. No head stands on both sides. The commands
resume: what was simulated, preprocessed, trained or scored before is kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
from preprocessing_parts.cases import test_data

_COMMANDS = Path(sys.executable).parent
HEALTHY, LESIONED = "SimHealthy", "SimLesions"
#: Voxels of 2 mm are twice as fine as the grid that is trained on. greedy without its finest level
#: and N4 on 6 mm are `make demo`'s, too.
COHORT = ("--healthy", "56", "--lesioned", "12", "--spacing", "2")
CHAIN = (
    *("--set", "preprocessing.registration_iterations=100x50x0"),
    *("--set", "preprocessing.n4_spacing_mm=6.0"),
)


class Home:
    """A DAL_HOME, and dal_auto's commands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)

    def run(self, command: str, *arguments: object) -> float:
        """Run a command to its end, showing what it says; returns its CPU minutes.

        Raises
        ------
        SystemExit
            if the command fails.
        """
        words = [str(_COMMANDS / command), *map(str, arguments)]
        print(f"\n$ {command} {' '.join(words[1:])}", file=sys.stderr, flush=True)
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = subprocess.run(
            words, env=mine | {"DAL_HOME": str(self.path)}, check=False
        ).returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if code != 0:
            raise SystemExit(f"{command} ended with exit code {code}")
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used / 60

    def prepare(self) -> None:
        """Simulate and preprocess the cohort."""
        data = test_data()
        sources = []
        if data is not None:
            sources += ["--heads", data / "label_maps"]
            sources += ["--lesion-masks", data / "mslub_lesion_masks"]
        self.run("dal_datasets", "simulate", *COHORT, *sources)
        self.run("dal_plan_and_preprocess", "-d", HEALTHY, LESIONED, *CHAIN)

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
