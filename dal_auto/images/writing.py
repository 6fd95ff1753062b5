"""Writing NIfTI."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from dal_auto.case import Grid
from dal_auto.images.content import GZIP, kind_of
from dal_auto.store.atomic import replacing


def write_image(path: Path, array: np.ndarray, grid: Grid, like: Path | None = None) -> None:
    """Write an image as NIfTI, atomically.

    Parameters
    ----------
    array : (x, y, z); bool and integers become uint8, floats float32
    grid : where it lies
    like : an image on the same grid whose header (qform, sform, their codes, units) is kept, if it
        is NIfTI; of another format nothing but the grid can be kept
    """
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.uint8
    header = None if like is None else _nifti_header(like)
    if header is None:
        image = nib.Nifti1Image(np.asarray(array, kind), grid.affine)
        image.set_qform(grid.affine, 1)
        image.set_sform(grid.affine, 1)
    else:
        image = nib.Nifti1Image(np.asarray(array, kind), header.get_best_affine())
        for form, setter in (("qform", image.set_qform), ("sform", image.set_sform)):
            matrix, code = getattr(header, f"get_{form}")(coded=True)
            setter(matrix, int(code))
        image.header.set_xyzt_units(*header.get_xyzt_units())
    with replacing(path) as temporary:
        nib.save(image, temporary)


def _nifti_header(path: Path) -> nib.Nifti1Header | None:
    """The header of a NIfTI file, whatever its name; None for other formats."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    with gzip.open(path) if zipped else path.open("rb") as file:
        start = file.read(nib.Nifti2Header.sizeof_hdr)
    kinds = {"NIfTI-1": nib.Nifti1Header, "NIfTI-2": nib.Nifti2Header}
    header = kinds.get(kind_of(start) or "")
    return None if header is None else header(start[: header.sizeof_hdr], check=False)
