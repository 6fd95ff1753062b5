"""What all commands share: what is typed wrong, and how a command ends."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.cli import common
from dal_auto.errors import (
    DiskFull,
    InputError,
    MissingDependency,
    MissingInput,
    PlansError,
    UsageError,
)


@pytest.mark.parametrize(
    ("type_", "text", "said"),
    [
        (common.whole_number(1), "0", "'0' is not a whole number of 1 or more"),
        (common.whole_number(0), "2.5", "'2.5' is not a whole number of 0 or more"),
        (common.number("a voxel size in mm"), "big", "'big' is not a voxel size in mm: a number"),
        (common.number("a voxel size in mm"), "inf", "a number above 0"),
        (common.number("a time", zero=True), "-1", "a number 0 or above"),
    ],
)
def test_a_number_that_is_none_is_told_in_plain_words(type_, text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        type_(text)
    assert said in str(caught.value)


def test_numbers_are_read() -> None:
    assert common.whole_number(0)("0") == 0 and common.number("a time", zero=True)("0") == 0
    assert common.number("a voxel size in mm")("1.5") == 1.5


COMMAND = """
import sys, tempfile, time
from functools import partial
from pathlib import Path
from dal_auto.cli import common
from dal_auto.workers import Workforce, run_tasks

def work(options):
    inner = "import tempfile, time, pathlib; d = tempfile.mkdtemp(prefix='dal_greedy_'); " \
        "pathlib.Path(marker).touch(); time.sleep(60)"
    task = partial(exec, inner, {"marker": options.marker})
    with tempfile.TemporaryDirectory(prefix="dal_mine_"):
        list(run_tasks(_call, [task], ["a"], workforce=Workforce(2), title="test"))
    return 0

import operator
_call = operator.call
parser = common.StrictParser(prog="test", description="A test.", example="test")
parser.add_argument("marker")
parser.set_defaults(debug=False)
sys.exit(common.run_command(parser, work, None))
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 143, "ended by a signal (SIGTERM)"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_ends_a_command_in_order_and_leaves_no_temporary_folder(
    tmp_path: Path, number: int, code: int, said: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path / "marker")],
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
        # Tests in the background inherit that SIGINT is ignored; a command of a user does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "marker").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    assert list(scratch.glob("dal_workers_*/dal_greedy_*"))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code and said in stderr, stderr
    assert list(scratch.iterdir()) == []


def test_what_nibabel_says_of_a_header_is_not_printed_beside_our_words(tmp_path, capfd) -> None:
    content = bytearray(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_bytes())
    content[80:92] = bytes(12)
    (tmp_path / "a.nii").write_bytes(content)
    parser = common.StrictParser(prog="test", description="A test.", example="test")
    parser.set_defaults(debug=False)
    level = logging.getLogger("nibabel.global").level
    try:
        common.run_command(parser, lambda _: nib.load(tmp_path / "a.nii") and 0, [])
    finally:
        logging.getLogger("nibabel.global").setLevel(level)
    assert "pixdim" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such dataset"), 2),
        (PlansError("training.steps", "many", "a whole number"), 2),
        (MissingInput("a.nii", "no such file", "Check it."), 2),
        (InputError("a.nii", "it is empty", "Copy it again."), 1),
        (MissingDependency("robex", "Install it."), 1),
        (DiskFull("a.nii", "/"), 1),
    ],
)
def test_wrong_usage_and_failures_have_codes_of_their_own(error, code, capsys) -> None:
    def command(options: argparse.Namespace) -> int:
        raise error

    parser = common.StrictParser(prog="dal", description="It fails.", example="dal")
    parser.set_defaults(debug=False)
    assert common.run_command(parser, command, []) == code
    assert f"dal: error: {error}" in capsys.readouterr().err
