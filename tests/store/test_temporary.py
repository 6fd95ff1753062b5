"""A temporary folder is gone afterwards, whenever a signal comes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dal_auto.store.temporary import temporary_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system's temporary files lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_of_its_own_for_this_user_alone_that_goes_with_all_that_is_in_it(place: Path):
    with temporary_folder("dal_test_") as folder, temporary_folder("dal_test_") as other:
        assert folder != other and folder.parent == place and folder.name.startswith("dal_test_")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError), temporary_folder("dal_test_"):
        raise ValueError
    assert list(place.iterdir()) == []


def test_where_no_folder_can_be_made_the_error_names_it(place: Path):
    place.rmdir()
    with pytest.raises(FileNotFoundError) as caught, temporary_folder("dal_test_"):
        pass
    assert Path(str(caught.value.filename)).parent == place


def test_an_interruption_at_whichever_instant_leaves_nothing(place: Path):
    instants = 0
    while _interrupted(instants):
        assert list(place.iterdir()) == [], f"instant {instants}"
        instants += 1
    assert instants > 100 and list(place.iterdir()) == []


def _interrupted(instant: int) -> bool:
    """Make, fill and leave a folder, with Ctrl-C before one of the interpreter's instructions;
    False where there are fewer."""
    left, before = instant, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        _use()
    except KeyboardInterrupt:
        return True
    except OSError as error:  # shutil closes a file twice where it is interrupted as it does
        assert isinstance(error.__context__, KeyboardInterrupt)
        return True
    finally:
        sys.settrace(before)
    return False


def _use() -> None:
    with temporary_folder("dal_test_") as folder:
        (folder / "file").touch()
