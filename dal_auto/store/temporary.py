"""Folders for temporary files, which are gone afterwards, whenever a signal comes."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Give an empty folder among the system's temporary files; it is removed, whatever happens.

    Python's `TemporaryDirectory` keeps a folder for good where Ctrl-C, or SIGTERM in our commands,
    comes just after the folder was made, or while it is removed. Here its name is known before it
    is made, and a removal that was interrupted is taken up again.

    Parameters
    ----------
    prefix : of the folder's name
    """
    folder = Path(tempfile.gettempdir()) / f"{prefix}{secrets.token_hex(8)}"
    try:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
