"""Files that are either whole or absent: written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dal_auto.errors import DalError, DiskFull, InputError

_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # the disk's end, or a quota's
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
#: Of a full disk blosc2 says no more than RuntimeError: a disk with less room than this is full.
#: What is written in Rust, safetensors, has the number in its words, and leaves the room it had.
_FULL_BYTES = 1 << 16
#: Ours, and what safetensors calls a file until it is whole.
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\..|\.tmp[A-Za-z0-9]{6}$")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, on failure it is removed.

    The temporary name keeps the suffixes of `path`, since many writers choose a format by them,
    and carries a random part, so that two processes never share one, also of two machines.

    Raises
    ------
    DiskFull
        where there is no room for it; what stood at `path` before stands there still.

    Examples
    --------
    >>> with replacing(Path("image.nii.gz")) as temporary:   # doctest: +SKIP
    ...     nibabel.save(image, temporary)
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except DalError:
        raise
    except Exception as error:
        if is_disk_full(error, path.parent):
            raise DiskFull(path, mount_point(path.parent)) from error
        raise
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder`, an hour ago or earlier."""
    for path in folder.glob(".*"):
        with suppress(FileNotFoundError):
            old = path.stat().st_mtime < time.time() - 3600  # a newer one may still be written
            if old and _TEMPORARY.match(path.name):
                path.unlink()


def is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether writing into `folder` failed for want of room."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    told = any(f"(os error {number})" in str(error) for number in _NO_ROOM)
    return told or shutil.disk_usage(folder).free < _FULL_BYTES


def disk_trouble(error: OSError) -> DalError | None:
    """What to tell the user of an error of the disk; None where it is none of those.

    An error that names no file is of a temporary one."""
    if error.errno not in _NO_ROOM | _REFUSED:
        return None
    file = Path(error.filename or tempfile.gettempdir())
    if error.errno in _NO_ROOM:
        return DiskFull(file, mount_point(file))
    finding = f"it cannot be read or written ({os.strerror(error.errno or 0)})"
    return InputError(file, finding, "Check who may use it, and whether its disk is in order.")


def mount_point(path: Path) -> Path:
    """Where the disk that holds `path` is mounted."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with a stable key order, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
