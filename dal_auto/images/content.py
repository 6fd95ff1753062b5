"""What a file holds, by its first bytes; compressed data are read to their end and checked.

Names are not trusted: public datasets hold a ``.nii.gz`` that is not compressed.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Literal, NoReturn

from dal_auto.errors import InputError
from dal_auto.findings import Finding
from dal_auto.images.oddities import COMPRESSION, TRAILING_BYTES

Kind = Literal["NIfTI-1", "NIfTI-2", "MGH", "NRRD", "MetaImage"]

GZIP = b"\x1f\x8b"
DAMAGED = "It is truncated or damaged: download or convert it again."
_SMALLEST = 284  # bytes of the shortest of the binary headers, MGH's
#: What lies there instead, by first bytes: pattern, finding, remedy.
_OTHERS = (
    (rb".{344}ni1\0", "it is the header of a NIfTI pair (.hdr, .img)", "Join the pair into .nii."),
    (rb"(\x5c\x01\0\0|\0\0\x01\x5c).{344}", "it is an Analyze header, which has no orientation",
     "Convert it to NIfTI from its source."),
    (rb".{128}DICM", "it is a DICOM file", "Convert the series to NIfTI, e.g. with dcm2niix."),
    (rb"PK\x03\x04", "it is a zip archive", "Unpack it."),
    (rb"\x89HDF|CDF", "it is HDF5 or NetCDF, as MINC is", "Convert it to NIfTI."),
    (rb"\s*<", "it is a web page or XML", "Download the image itself; a login may be needed."),
)  # fmt: skip


def open_content(path: Path) -> tuple[Kind, bytes, tuple[Finding, ...]]:
    """Format, content (decompressed, complete) and oddities of a file.

    Raises
    ------
    InputError
        if it is missing, cannot be opened, is empty, damaged or of another format.
    """
    if not path.is_file():
        _complain_about_absence(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            path, f"it cannot be opened ({error.strerror})", "Check its permissions."
        ) from error
    if not content:
        raise InputError(path, "the file is empty", "Download or convert it again.")
    zipped, oddities = content.startswith(GZIP), []
    if zipped:
        content, foreign = _gunzip(path, content)
        if foreign:
            words = f"{foreign} bytes after the end of the compressed data are ignored"
            oddities.append(TRAILING_BYTES.found(words, value=foreign))
    kind = kind_of(content)
    if kind is None or (zipped and kind in ("NRRD", "MetaImage")):
        _complain_about_content(path, content)
    if zipped != path.name.lower().endswith((".gz", ".mgz")):
        words = f"the file is {'' if zipped else 'not '}compressed, against its name"
        oddities.append(COMPRESSION.found(words))
    return kind, content, tuple(oddities)


def kind_of(content: bytes) -> Kind | None:
    """The format, by the first bytes (352 are enough); None if it is another."""
    if content[344:348] == b"n+1\0":
        return "NIfTI-1"
    if content[4:8] == b"n+2\0":
        return "NIfTI-2"
    if content[:4] == b"\0\0\0\1":
        return "MGH"
    if content[:4] == b"NRRD":
        return "NRRD"
    return "MetaImage" if re.match(rb"\s*(ObjectType|NDims|Comment)\s*=", content[:80]) else None


def reason_of(error: BaseException) -> str:
    """One line of an error's message; ITK's stands last, after the place in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not isinstance(error, RuntimeError):
        return lines[0] if lines else type(error).__name__
    told = [line for line in lines if not line.startswith("Reason:")] or [type(error).__name__]
    return re.sub(r"^ITK ERROR: \w+\(0x\w+\): ", "", told[-1], flags=re.IGNORECASE)


def _gunzip(path: Path, content: bytes) -> tuple[bytes, int]:
    """Decompress to the end, checksums compared; and how many foreign bytes follow.

    Several members in a row are one file, as bgzip writes them; zeros behind them are padding.
    Other bytes behind a complete member do no harm to the image before them.
    """
    parts: list[bytes] = []
    rest = content
    while rest.startswith(GZIP):
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(rest)
        except zlib.error as error:
            if parts:
                break
            raise InputError(
                path, f"its compressed data are damaged ({reason_of(error)})", DAMAGED
            ) from error
        if not member.eof:
            raise InputError(
                path, "it cannot be read to its end, its compressed data are cut off", DAMAGED
            )
        parts.append(part)
        rest = member.unused_data
    return (parts[0] if len(parts) == 1 else b"".join(parts)), len(rest.strip(b"\0"))


def _complain_about_absence(path: Path) -> NoReturn:
    if path.is_dir():
        raise InputError(path, "it is a folder, not a file", "Name the image inside it.")
    if path.is_symlink():
        raise InputError(
            path,
            f"no such file: it is a link to {path.readlink()}, which is not there",
            "Fetch the file that the link names, or mend the link.",
        )
    raise InputError(path, "no such file", "Check the path.")


def _complain_about_content(path: Path, content: bytes) -> NoReturn:
    for pattern, finding, remedy in _OTHERS:
        if re.match(pattern, content[:400], re.DOTALL):
            raise InputError(path, finding, remedy)
    if len(content) < _SMALLEST:
        raise InputError(path, f"it ends after {len(content)} bytes", DAMAGED)
    raise InputError(
        path,
        "it is no image of a known format",
        "Give NIfTI (.nii, .nii.gz), MGH (.mgh, .mgz), .nrrd or .mha.",
    )
