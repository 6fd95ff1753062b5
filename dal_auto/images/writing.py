"""Writing NIfTI."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images.content import GZIP, kind_of
from dal_auto.images.nifti import header_like, parse_header
from dal_auto.store.atomic import replacing

_MOST_INTEGER = 255
_MOST_DESCRIP = 79  # bytes, and one that ends them


def write_image(
    path: Path,
    array: np.ndarray,
    grid: Grid,
    like: Path | None = None,
    *,
    window: tuple[float, float] | None = None,
    description: str = "",
) -> None:
    """Write an image as NIfTI, atomically.

    Parameters
    ----------
    array : (x, y, z); bool and integers become uint8, floats float32
    grid : where it lies
    like : an image on the same grid whose header (qform, sform, their codes, units) is kept, if it
        is NIfTI; of another format nothing but the grid can be kept
    window : the values that viewers show as black and as white (``cal_min``, ``cal_max``)
    description : what it is (``descrip``); cut at 79 bytes

    Raises
    ------
    ValueError
        if an integer is above 255.
    """
    if np.issubdtype(array.dtype, np.integer) and array.size and array.max() > _MOST_INTEGER:
        raise ValueError(f"{path}: {array.max()} does not fit into uint8")
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.uint8
    header = None if like is None else _nifti_header(like)
    image = nib.Nifti1Image(_in_order(array, kind), None if header else grid.affine, header)
    image.set_data_dtype(kind)
    if header is None:
        image.set_qform(grid.affine, 1)
        image.set_sform(grid.affine, 1)
        image.header.set_xyzt_units("mm")
    if window is not None:
        image.header["cal_min"], image.header["cal_max"] = window
    image.header["descrip"] = description.encode()[:_MOST_DESCRIP]
    with replacing(path) as temporary:
        nib.save(image, temporary)


def _in_order(array: np.ndarray, kind: type[np.generic]) -> np.ndarray:
    """The voxels in the order of the file; most are 0 in maps and masks, and need not be moved."""
    ordered = np.zeros(array.shape, kind, order="F")
    filled = array != 0
    others = [tuple(set(range(array.ndim)) - {axis}) for axis in range(array.ndim)]
    places = [np.flatnonzero(filled.any(axis=axes)) for axes in others]
    if all(found.size for found in places):
        box = tuple(slice(found[0], found[-1] + 1) for found in places)
        ordered[box] = array[box]
    return ordered


def check_header(path: Path) -> None:
    """See that a result can be written like an image, long before there is one.

    Raises
    ------
    InputError
        if its header cannot be carried over.
    """
    try:
        header = _nifti_header(path)
        if header is not None:
            nib.Nifti1Header(header.binaryblock, check=True)
    except (HeaderDataError, KeyError, ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            path, f"no result can be written with its header ({error})", "Convert it again."
        ) from error


def _nifti_header(path: Path) -> nib.Nifti1Header | None:
    """A new header on the grid of a NIfTI file, whatever its name; None for other formats."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    with gzip.open(path) if zipped else path.open("rb") as file:
        start = file.read(nib.Nifti2Header.sizeof_hdr)
    kind = kind_of(start)
    if kind not in ("NIfTI-1", "NIfTI-2"):
        return None
    return header_like(parse_header(kind, start)[0])
