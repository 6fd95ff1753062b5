"""What the names of image files say: endings, sequences, and what is to be left alone."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from dal_auto.store.folders import folders_below

# In order of preference, where an image lies there in several. Formats whose voxels lie in a second
# file (.hdr, .nhdr, .mhd) are none: a copy or a hash of the one file would miss the other.
ENDINGS = (".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".mha")
# Only whole words, and none of a contrast-enhanced T1 (t1c, t1ce, T1Gd, T1WKS).
SYNONYMS = {
    "t1": "T1", "t1w": "T1", "t1n": "T1",
    "t2": "T2", "t2w": "T2",
    "flair": "FLAIR", "t2f": "FLAIR",
}  # fmt: skip
# A folder named like an image stands for that image, see `image_file`.
_NEVER = (".*", "__MACOSX", *(f"*{ending}" for ending in ENDINGS))


def sequence_of(word: str) -> str | None:
    """ "T1", "T2" or "FLAIR", as `word` names it (`t1n`, `T2w`, …); None for all else."""
    return SYNONYMS.get(word.lower())


def stem_of(path: Path) -> str | None:
    """The name without ``.nii.gz``, ``.nrrd`` and the like; None if hidden or no image's name."""
    if path.name.startswith("."):
        return None
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return None


def image_file(path: Path) -> Path | None:
    """The file that `path` stands for, or None.

    Some mirrors wrap an image into a folder that bears its name (``x.nii/x.nii``).
    """
    if path.is_dir():
        inside = [inner for inner in path.iterdir() if stem_of(inner) and inner.is_file()]
        return inside[0] if len(inside) == 1 else None
    return path if path.is_file() else None


def images_in(folder: Path) -> dict[str, Path]:
    """Stem → image directly in `folder`, sorted; of ``x.nii`` and ``x.nii.gz`` the latter."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=_preference):
        stem = stem_of(path)
        if stem is not None and (file := image_file(path)) is not None:
            found.setdefault(stem, file)
    return {stem: found[stem] for stem in sorted(found)}


def _preference(path: Path) -> tuple[int, str]:
    endings = [place for place, ending in enumerate(ENDINGS) if path.name.lower().endswith(ending)]
    return min(endings, default=len(ENDINGS)), path.name


def walk(root: Path, skip: tuple[str, ...] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Every folder at or below `root`, sorted, with the names of its sub-folders.

    As with `os.walk`, names removed from the list are not entered. Links are followed, but no
    folder is entered twice. Hidden folders, ``__MACOSX``, folders that stand for an image, and
    those that match a pattern of `skip` are left out.
    """
    for folder, names, _ in folders_below(root):
        names[:] = sorted(
            name for name in names if not any(fnmatchcase(name, p) for p in (*_NEVER, *skip))
        )
        yield folder, names
