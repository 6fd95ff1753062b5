"""Pictures that lie beside a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image


@dataclass(frozen=True)
class ShownPicture:
    """A picture as a page shows it.

    Parameters
    ----------
    url : from the page's folder
    width, height : in pixels, so that the page does not move while pictures load
    alternative : what it shows, in words
    """

    url: str
    width: int
    height: int
    alternative: str


def url(target: Path, page: Path) -> str:
    """How `page` names the file `target`."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())


def shown_picture(path: Path, page: Path, alternative: str) -> ShownPicture | None:
    """The picture `path` for `page`; None if it is missing or damaged."""
    try:
        with Image.open(path) as picture:
            return ShownPicture(url(path, page), *picture.size, alternative)
    except (OSError, ValueError, SyntaxError):  # Pillow raises SyntaxError for a broken PNG
        return None
