"""No program of the tests connects to another machine, or asks a name server.

Python imports this module at its start where its folder is on PYTHONPATH: so worker processes and
commands that are started as programs are watched as well. What was tried is refused, and noted in
the file that DAL_TEST_CONNECTIONS names, in case that somebody swallows the refusal.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

_HERE = {"", "localhost", socket.gethostname()}


def _is_here(host: Any) -> bool:
    if host is None or host in _HERE or host in (b"", b"localhost"):
        return True
    return _is_number(host) and ipaddress.ip_address(str(host).partition("%")[0]).is_loopback


def _is_number(host: Any) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        if _is_number(host):  # then nobody is asked
            return
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = arguments[:2]
        local = connection.family not in (socket.AF_INET, socket.AF_INET6)
        # A UDP socket that is connected sends nothing: it is how one's own address is found out.
        told_only = event == "socket.connect" and connection.type != socket.SOCK_STREAM
        if local or told_only or not address:
            return
        host = address[0]
    else:
        return
    if not _is_here(host):
        if notes := os.environ.get("DAL_TEST_CONNECTIONS"):
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(f"{event} {host}: {sys.argv[:2]}\n")
        raise ConnectionRefusedError(f"tests connect to this machine only, not to {host}")


sys.addaudithook(_stay_here)
