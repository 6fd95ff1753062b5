"""Reading and writing NIfTI images, with errors that a user can act on."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from dal_auto.atomic import replacing
from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import InputError

SUFFIXES = (".nii.gz", ".nii")
_UNREADABLE = (
    OSError,
    EOFError,
    ImageFileError,
    HeaderDataError,
    ValueError,
    TypeError,  # numpy's, for voxels that are no numbers, such as RGB
    zlib.error,
)


def _read(path: Path) -> tuple[FloatArray, Grid]:
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, and links that point nowhere.")
    if path.stat().st_size == 0:
        raise InputError(path, "the file is empty", "Download or convert it again.")
    try:
        image = nib.load(path)
        array = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            path,
            f"it cannot be read to its end as NIfTI ({reason})",
            "It is truncated, damaged or of another format: download or convert it again.",
        ) from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        raise InputError(
            path,
            f"a 3-D image was expected, its shape is {tuple(array.shape)}",
            "Split a series into single volumes, one file each.",
        )
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(
            path, f"{count} voxels are NaN or infinite", "Convert it again from its source."
        )
    affine = np.asarray(image.affine, np.float64)  # type: ignore[attr-defined]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(path, "its affine cannot be inverted", "Mend the header (sform, qform).")
    x, y, z = array.shape
    return array, Grid((x, y, z), affine)


def read_image(path: Path) -> tuple[FloatArray, Grid]:
    """Read a 3-D image whole.

    Returns
    -------
    array : (x, y, z) float32, scl_slope and scl_inter applied
    grid : its shape and affine (sform where set, else qform, as nibabel decides)

    Raises
    ------
    InputError
        if the file is missing, empty, truncated or no NIfTI; if it is not 3-D (after dropping last
        axes of length 1), has one slice, NaN or infinite voxels, only one value, or an affine that
        cannot be inverted.
    """
    array, grid = _read(Path(path))
    if array.min() == array.max():
        raise InputError(
            path,
            f"all voxels have the value {array.flat[0]:g}",
            "Convert it again from its source.",
        )
    return array, grid


def read_mask(path: Path) -> tuple[BoolArray, Grid]:
    """Read a mask: voxels above one half are inside (labels of any number, floats such as 0.999).

    An empty mask is a mask; otherwise errors are those of `read_image`.
    """
    array, grid = _read(Path(path))
    return array > 0.5, grid


def write_image(path: Path, array: np.ndarray, grid: Grid, like: Path | None = None) -> None:
    """Write an image atomically.

    Parameters
    ----------
    array : (x, y, z); bool and integers become uint8, floats float32
    grid : where it lies
    like : an image on the same grid whose header (qform, sform, their codes, units) is kept
    """
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.uint8
    image = nib.Nifti1Image(np.asarray(array, kind), grid.affine)
    if like is not None:
        source = nib.load(like)
        image = nib.Nifti1Image(np.asarray(array, kind), source.affine)  # type: ignore[attr-defined]
        header = source.header
        if isinstance(header, nib.Nifti1Header):
            for form, setter in (("qform", image.set_qform), ("sform", image.set_sform)):
                matrix, code = getattr(header, f"get_{form}")(coded=True)
                setter(matrix, int(code))
            image.header.set_xyzt_units(*header.get_xyzt_units())
    else:
        image.set_qform(grid.affine, 1)
        image.set_sform(grid.affine, 1)
    with replacing(path) as temporary:
        nib.save(image, temporary)
