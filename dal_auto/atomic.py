"""Files that are either whole or absent: written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, on failure it is removed.

    The temporary name keeps the suffixes of `path`, since many writers choose a format by them,
    and carries the process id, so that two processes never share one.

    Examples
    --------
    >>> with replacing(Path("image.nii.gz")) as temporary:   # doctest: +SKIP
    ...     nibabel.save(image, temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with a stable key order, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
