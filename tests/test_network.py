"""Nothing is fetched: what the tests run connects to this machine only (tests/conftest.py)."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_to_another_machine_is_refused_before_it_is_made() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"not to 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_a_connection_to_this_machine_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
