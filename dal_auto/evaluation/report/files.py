"""The files of a report: where pages and pictures lie, and that none of an earlier one stays."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from dal_auto.store.atomic import replacing

DATASETS, CASES, PICTURES = "datasets", "cases", "pictures"


def safe(name: str) -> str:
    """`name` as a file's; what had to be replaced leaves a hash, so that names stay different."""
    found = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip(".")
    return found if found == name else f"{found}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def bring(source: Path, target: Path) -> None:
    """Make `target` the file `source`: as a hard link, which takes no room, or as a copy.

    Files that dal_auto writes are replaced, never changed, so the two stay equal until then.
    """
    if target.is_file() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_others(folder: Path, written: Collection[Path]) -> None:
    """Remove what earlier reports left in the folders that only `write_report` writes into."""
    for name in (DATASETS, CASES, PICTURES):
        for path in sorted((folder / name).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in written:
                path.unlink()
