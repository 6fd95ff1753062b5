"""DICOM folders: every series of images in them, and the volume of each.

Read with SimpleITK's GDCM. Of the header only what describes the image is kept: names, dates and
identifiers of people are not read at all, and a study is known by a hash of its number.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dal_auto.case import FloatArray, Grid
from dal_auto.errors import InputError
from dal_auto.store.folders import folders_below

logger = logging.getLogger(__name__)

_PREAMBLE = 128
#: Distances between slices may differ by this share of their mean, as rounding makes them differ.
_UNEVEN = 0.1
#: Slices nearer than this are in one place.
_ONE_PLACE_MM = 1e-3
_AGAIN = "Export the series again, complete."


@dataclass(frozen=True)
class Header:
    """What one file says of its image; None where it says nothing.

    Parameters
    ----------
    series : what slices of one volume have in common
    study : of the examination, hashed; where its number was taken out, of the frame of reference,
        else of the folder, so that two people are never one case
    position_mm : along the normal of the slices
    shape : columns, rows, frames
    spacing_mm : between columns and between rows, ITK's order; of a file of several frames,
        between these too
    echo_ms, repetition_ms, inversion_ms : TE, TR, TI
    contrast_agent : whether one was given
    """

    file: Path
    series: tuple[str, ...]
    study: str
    number: str
    description: str
    modality: str
    image_type: tuple[str, ...]
    scanning_sequence: str
    position_mm: float
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, ...]
    echo_ms: float | None
    repetition_ms: float | None
    inversion_ms: float | None
    contrast_agent: bool


@dataclass(frozen=True)
class Series:
    """Files that are one volume, in the order of their slices."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Header:
        return self.headers[0]

    @property
    def slices(self) -> int:
        return sum(header.shape[2] for header in self.headers)

    @property
    def widest_mm(self) -> float:
        """The largest edge of a voxel."""
        steps = np.abs(np.diff([header.position_mm for header in self.headers]))
        steps = steps[steps > _ONE_PLACE_MM]  # of a series that repeats itself, several are 0
        return float(max(*self.first.spacing_mm, np.median(steps) if steps.size else 0.0))

    def __str__(self) -> str:
        return f"series {self.first.number or '?'} ({self.first.description or 'no description'})"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content; names tell nothing."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError as error:
        _warn_once(f"{path} is left out: it cannot be read ({error.strerror})")
        return False


def dicom_files(folder: Path) -> Iterator[Path]:
    """Every DICOM file at or below `folder`, sorted by folder and name."""
    for place, names, files in folders_below(folder, _unreadable):
        names.sort()
        for name in sorted(files):
            if is_dicom(path := place / name):
                yield path


def _unreadable(error: OSError) -> None:
    _warn_once(f"{error.filename} is left out: the folder cannot be listed ({error.strerror})")


@cache
def _warn_once(text: str) -> None:
    """A folder is looked through several times."""
    logger.warning(text)


def find_series(files: Iterable[Path]) -> list[Series]:
    """The series of images among DICOM files. What holds no image that can be read (a DICOMDIR, a
    report, a file that was cut off) is left out, which is said.

    Files are of one series if they share its number, orientation, grid, echo and kind of image, as
    dcm2niix splits them.
    """
    grouped: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    without = []
    for path in files:
        try:
            header = read_header(path)
        except RuntimeError:  # ITK's word for a file without an image
            without.append(path)
            continue
        grouped[header.series].append(header)
    if without := [path for path in without if path.name.upper() != "DICOMDIR"]:
        names = ", ".join(map(str, without[:3])) + (", …" if len(without) > 3 else "")
        logger.warning(
            "%d DICOM files hold no image that can be read (reports, or damaged): %s",
            len(without),
            names,
        )
    return [
        Series(tuple(sorted(headers, key=lambda h: (h.position_mm, h.file))))
        for headers in grouped.values()
    ]


def read_header(path: Path) -> Header:
    """Read the header of one file; RuntimeError (ITK's) where it holds no image."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    known = set(reader.GetMetaDataKeys())

    def text(tag: str) -> str:
        # Bytes that are no UTF-8 come as surrogates, which no file could be written with.
        raw = reader.GetMetaData(tag) if tag in known else ""
        return raw.encode("utf-8", "replace").decode().strip(" \0")

    def number(tag: str) -> float | None:
        try:
            return float(text(tag).split("\\")[0])
        except ValueError:
            return None

    direction = np.array(reader.GetDirection()).reshape(reader.GetDimension(), -1)[:3, :3]
    position = float(np.dot(direction[:, 2], reader.GetOrigin()[:3])) if len(direction) > 2 else 0.0
    columns, rows, *frames = reader.GetSize()
    kind = tuple(text("0008|0008").upper().split("\\"))
    series = (
        text("0020|000e"),
        np.array2string(np.round(direction, 3) + 0.0),
        f"{columns}x{rows}",
        text("0018|0081"),
        "\\".join(kind[2:]),
        f"{path}" if frames and frames[0] > 1 else "",
    )
    study = text("0020|000d") or text("0020|0052") or str(path.parent)
    spacing = tuple(map(float, reader.GetSpacing()))
    return Header(
        file=path,
        series=series,
        study=hashlib.sha256(study.encode()).hexdigest()[:8],
        number=text("0020|0011"),
        description=text("0008|103e"),
        modality=text("0008|0060"),
        image_type=kind,
        scanning_sequence=text("0018|0020").upper(),
        position_mm=position,
        shape=(columns, rows, frames[0] if frames else 1),
        spacing_mm=spacing[:2] if not frames or frames[0] == 1 else spacing[:3],
        echo_ms=number("0018|0081"),
        repetition_ms=number("0018|0080"),
        inversion_ms=number("0018|0082"),
        contrast_agent=text("0018|0010").lower() not in ("", "no", "none"),
    )


def read_series(series: Series) -> tuple[FloatArray, Grid]:
    """The volume of a series: (x, y, z) float32, and its grid in RAS world.

    Raises
    ------
    InputError
        if slices are missing or there twice, a file cannot be read, or its voxels are colours.
    """
    files = [header.file for header in series.headers]
    reader = sitk.ImageSeriesReader() if len(files) > 1 else sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    if isinstance(reader, sitk.ImageSeriesReader):
        _check_slices(series)
        reader.SetFileNames([str(file) for file in files])
    else:
        reader.SetFileName(str(files[0]))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(files[0].parent, f"{series} cannot be read", _AGAIN) from error
    array = sitk.GetArrayFromImage(image)
    if array.ndim != 3:
        raise InputError(
            files[0].parent, f"{series} has {array.ndim} axes", "Export the grey values."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1  # DICOM's world is LPS
    voxels = np.ascontiguousarray(np.asarray(array, np.float32).T)
    x, y, z = voxels.shape
    return voxels, Grid((x, y, z), affine)


def _check_slices(series: Series) -> None:
    """ITK stacks whatever files it is given, one after the other."""
    steps = np.diff([header.position_mm for header in series.headers])
    folder, mean = series.first.file.parent, float(np.median(steps))
    if steps.min() < _ONE_PLACE_MM:
        raise InputError(
            folder,
            f"{series} has several images in one place (repetitions, or two exports)",
            "Keep one of them in the folder.",
        )
    gaps = np.flatnonzero(np.abs(steps - mean) > _UNEVEN * mean)
    if gaps.size:
        raise InputError(
            folder,
            f"{series} has slices {mean:.2f} mm apart, but {steps[gaps[0]]:.2f} mm after slice "
            f"{gaps[0] + 1}: some are missing",
            _AGAIN,
        )
