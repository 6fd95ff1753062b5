"""The folders at and below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def folders_below(
    root: Path, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, but links are followed, and no folder is entered twice.

    Parameters
    ----------
    on_error : is told of a folder that cannot be listed; without, it is passed over

    Yields
    ------
    (folder, names of its sub-folders, names of its files); what is removed from the sub-folders is
    not entered
    """
    seen: set[Path] = set()
    for folder, names, files in os.walk(root, followlinks=True, onerror=on_error):
        real = Path(folder).resolve()
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        yield Path(folder), names, files
