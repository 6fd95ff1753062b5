"""A folder is one run's, writable, and has room; or the error says which of these it lacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from dal_auto.case import RawCase
from dal_auto.errors import InputError, UsageError
from dal_auto.store.claim import claimed, require_good_name, require_room
from dal_auto.store.failures import Failures

HOLD = """
import sys, time
from pathlib import Path
from dal_auto.store.claim import claimed
from dal_auto.store.failures import Failures
with claimed(Path(sys.argv[1]), "Wait."):
    Path(sys.argv[1], "held").touch()
    time.sleep(60)
"""


def test_a_second_claim_is_refused_with_what_to_do_and_a_later_one_is_not(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "new", "Name another."),
        pytest.raises(UsageError, match=r"another run is writing to this folder.*Name another\."),
        claimed(tmp_path / "new", "Name another."),
    ):
        pass
    with claimed(tmp_path / "new", "Name another."):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".lock"]
    assert not (tmp_path / "new").exists(), "nothing is left behind"
    (tmp_path / "old").mkdir()
    with claimed(tmp_path / "old", "Name another."):
        pass
    assert (tmp_path / "old").exists(), "it is not ours"


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "held").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(UsageError), claimed(tmp_path, "Wait."):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with claimed(tmp_path, "Wait."):
        pass


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"file/maps: .*cannot be written.*Name another\."),
        claimed(tmp_path / "file" / "maps", "Name another."),
    ):
        pass


def test_too_little_room_is_said_with_both_figures(tmp_path: Path) -> None:
    require_room(tmp_path, 1, "the maps")
    with pytest.raises(UsageError, match=r"the maps take at least 1000000\.0 GB.* GB free"):
        require_room(tmp_path, 1e15, "the maps")


@pytest.mark.parametrize(("name", "size"), [("a" * 191, 191), ("頭" * 64, 192)])
def test_a_name_is_measured_in_bytes(tmp_path: Path, name: str, size: int) -> None:
    require_good_name(RawCase("d", "a" * 190, "p", {"T1": tmp_path / "a.nii"}))
    with pytest.raises(InputError, match=rf"a\.nii: the case's name has {size} bytes"):
        require_good_name(RawCase("d", name, "p", {"T1": tmp_path / "a.nii"}))


@pytest.mark.parametrize(
    ("case", "file", "said"),
    [
        ("M\udcfcller", "a.nii", r"a\.nii: the name 'M\\udcfcller' is not stored in UTF-8"),
        ("a", "M\udcfc.nii", r"M\\udcfc\.nii: the name 'M\\udcfc\.nii' is not stored in UTF-8"),
        ("a\nb", "a.nii", r"a\.nii: the case's name, 'a\\nb', holds signs that end a line"),
        ("a\u2028b", "a.nii", r"'a\\u2028b', holds signs that end a line"),
        ("a\x1bb", "a.nii", r"'a\\x1bb', holds signs that end a line"),
        ("site1/a", "a.nii", "'site1/a', names another folder"),
        ("../a", "a.nii", "'../a', names another folder"),
        (".a", "a.nii", "'.a', names another folder or a hidden file"),
    ],
)
def test_names_that_no_table_could_hold_are_refused(
    tmp_path: Path, case: str, file: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        require_good_name(RawCase("d", case, "p", {"T1": tmp_path / file}))
    str(error.value).encode()
    failed = Failures()
    failed.add(case, error.value)
    failed.write(tmp_path / "failures.csv")
    assert len(pd.read_csv(tmp_path / "failures.csv")) == 1
    require_good_name(RawCase("d", "M\u00fcller\u00a0頭 #1", "p", {"T1": tmp_path / "a.nii"}))
