"""Nothing is fetched: what the tests run connects to this machine only (tests/one_machine)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

#: Each is a command with what it needs to come as far as it can without data.
COMMANDS = """
import importlib, sys
for words in (
    "datasets list", "datasets show IXI", "models list", "predict -i nowhere -o maps",
    "plan_and_preprocess -d Nothing", "train -d Nothing", "evaluate -d Nothing",
):
    name, *arguments = words.split()
    main = importlib.import_module(f"dal_auto.cli.{name}").main
    sys.argv = [f"dal_{name}", *arguments]
    try:
        main(arguments)
    except SystemExit:
        pass
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where connections are noted while a test of this module runs."""
    monkeypatch.setenv("DAL_TEST_CONNECTIONS", str(tmp_path / "notes.txt"))
    return tmp_path / "notes.txt"


def test_a_connection_to_another_machine_is_refused_before_it_is_made(notes: Path) -> None:
    with pytest.raises(ConnectionRefusedError, match=r"not to 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    assert "192.0.2.1" in notes.read_text()


def test_a_name_server_is_not_asked_and_nothing_is_sent(notes: Path) -> None:
    with pytest.raises(ConnectionRefusedError, match=r"not to example\.org"):
        socket.getaddrinfo("example.org", 80)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        pytest.raises(ConnectionRefusedError),
    ):
        datagrams.sendto(b"?", ("192.0.2.1", 53))


def test_a_connection_to_this_machine_is_not(notes: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    assert not notes.exists()


def test_a_process_that_a_test_starts_is_watched_too(notes: Path) -> None:
    program = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "tests connect to this machine only" in ended.stderr
    assert "192.0.2.1" in notes.read_text()


def test_no_command_calls_another_machine(notes: Path, tmp_path: Path) -> None:
    """The walks from end to end run under the same watch, with their workers."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        env=os.environ | {"DAL_HOME": str(tmp_path / "home")},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert "dal_train: error" in ended.stderr and "IXI" in ended.stdout
    assert not notes.exists(), notes.read_text()
