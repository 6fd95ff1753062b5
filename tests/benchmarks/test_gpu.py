"""The script for a GPU is tried on the CPU, so that its minutes there are not lost to a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_gpu_script_runs_through_on_a_cpu(tmp_path):
    options = ("--device", "cpu", "--configurations", "demo", "--steps", "1")
    done = subprocess.run(
        [sys.executable, SCRIPT, *options, "--train-minutes", "0", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == json.loads((tmp_path / "gpu.json").read_text())
    rows = [row for row in told["steps"] if "compiled" not in row["way"]]
    assert len(rows) == 3 and all(row["images/s"] > 0 for row in rows)
    ways = told["agreement"]
    assert ways["cpu"]["largest difference from the CPU"] == 0
    assert abs(ways["cpu, half"]["AP"] - ways["CPU"]["AP"]) < 5
    assert ways["CPU"]["AP"] > 20, "the pasted lesion is found"
