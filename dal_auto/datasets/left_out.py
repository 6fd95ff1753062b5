"""What lies in a folder of scans, looks like one, and is not read: it is named, with the reason."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

from dal_auto.datasets.filenames import ENDINGS, stem_of
from dal_auto.images.dicom import is_dicom

logger = logging.getLogger(__name__)

_IN_TWO_FILES = (".hdr", ".nhdr", ".mhd")
#: MINC, MRtrix, AFNI, Philips, pairs that are compressed.
_FOREIGN = (".mnc", ".mif", ".mif.gz", ".mih", ".head", ".par", ".hdr.gz")
#: Voxels whose header is one of the two above.
_VOXELS = (".img", ".img.gz", ".raw", ".zraw", ".brik", ".brik.gz", ".rec")
#: Behind the ending of an image: packed by other means than gzip, or not yet whole.
_PACKED = (".bz2", ".xz", ".zst", ".zip", ".7z", ".part", ".crdownload", ".download", ".filepart")
_SHOWN = 5

_PAIR = "its voxels lie in a second file; join them"
_FORMAT = "in a format that is not read; convert to NIfTI"
_ALONE = "voxels without their header"
_HALF = "packed, or not yet whole; unpack, or download again"
_SLICES = "DICOM beside images; name a folder of its own with -i"
_BELOW = "a sub-folder with scans in it; name it with -i"


def say_what_is_left_out(folder: Path) -> None:
    """Warn of what looks like a scan in `folder`, and is none of its images."""
    found: dict[str, list[str]] = defaultdict(list)
    names = {path.name.lower() for path in folder.iterdir()}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (reason := _reason(path, names)) is not None:
            found[reason].append(path.name)
    for path_name in found.pop(_PAIR, []):
        logger.warning("%s is left out: %s", folder / path_name, _PAIR)
    for reason, left_out in found.items():
        shown = ", ".join(left_out[:_SHOWN]) + (", …" if len(left_out) > _SHOWN else "")
        logger.warning("%s: %d left out, %s: %s", folder, len(left_out), reason, shown)


def _reason(path: Path, names: set[str]) -> str | None:
    """Why a scan is left out; None for what is none, or is read."""
    name = path.name.lower()
    if stem_of(path) is not None or name == "__macosx":
        return None
    if path.is_dir():
        return _BELOW if _holds_scans(path) else None
    if name.endswith(_IN_TWO_FILES):
        return _PAIR
    if name.endswith(_FOREIGN):
        return _FORMAT
    if ending := next((one for one in _VOXELS if name.endswith(one)), None):
        stem = name.removesuffix(ending)
        headers = {f"{stem}{one}" for one in (*_IN_TWO_FILES, *_FOREIGN)}
        return None if headers & names else _ALONE
    if name.endswith(_PACKED) and any(f"{one}." in name for one in ENDINGS):
        return _HALF
    return _SLICES if is_dicom(path) else None


def _holds_scans(folder: Path) -> bool:
    """Whether an image or a DICOM file lies directly in it."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:  # it may not be listed
        return False
    return any(map(stem_of, files)) or (bool(files) and is_dicom(files[0]))
