"""What bears an image's name in a folder, readable or not."""

from __future__ import annotations

from pathlib import Path

from dal_auto.datasets.filenames import images_in, stem_of
from dal_auto.errors import InputError


def image_entries(folder: Path) -> dict[str, Path]:
    """Stem → image directly in `folder`; none where there is no such folder.

    Like `images_in`, and also what only looks like an image: a link that points nowhere (as in a
    tree whose contents were not fetched), or a folder ``x.nii`` that does not hold one image.
    Reading these fails with an error that names them; leaving them out would hide them.

    Raises
    ------
    InputError
        if the folder cannot be listed.
    """
    if not folder.is_dir():
        return {}
    try:
        found = images_in(folder)
        for path in sorted(folder.iterdir()):
            stem = stem_of(path)
            if stem is not None:
                found.setdefault(stem, path)
    except OSError as error:
        raise InputError(
            folder, f"it cannot be listed ({error.strerror})", "Check its permissions."
        ) from error
    return dict(sorted(found.items()))
