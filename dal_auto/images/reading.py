"""Reading images: NIfTI, FreeSurfer's MGH, NRRD, MetaImage; whole, as float32 in RAS world."""

from __future__ import annotations

import itertools
import math
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import InputError
from dal_auto.images.content import DAMAGED, Kind, open_content, reason_of

_UNREADABLE = (
    OSError,
    EOFError,
    ImageFileError,
    HeaderDataError,
    ValueError,
    RuntimeError,  # ITK's
    zlib.error,
)
_NIBABEL: dict[str, Any] = {
    "NIfTI-1": nib.Nifti1Image,
    "NIfTI-2": nib.Nifti2Image,
    "MGH": nib.MGHImage,
}
_MGH_GOOD_RAS = slice(28, 30)
_ITK = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
#: Where the headers of NRRD and MetaImage end, and what their lines say of the voxels.
_HEADER_ENDS = {"NRRD": rb"\r?\n\r?\n", "MetaImage": rb"^ElementDataFile *=.*\r?\n"}
_ELSEWHERE = re.compile(rb"^(data ?file: *|ElementDataFile *= *)(?!LOCAL\s)\S", re.I | re.M)
_ZIPPED = re.compile(rb"^(encoding: *gz|CompressedData *= *True)", re.I | re.M)
#: Distance between the places that two forms give one voxel above which they are in conflict; a
#: quaternion in single precision is off by less.
FORMS_CONFLICT_MM = 0.1
_CONVERT = "Convert it again from its source."


@dataclass(frozen=True, eq=False)
class Volume:
    """An image file, read whole.

    Parameters
    ----------
    array : (x, y, z) float32, scl_slope and scl_inter applied
    grid : its shape and affine (NIfTI: sform where set, else qform)
    dtype : type of the voxels on disk, such as "int16"
    forms_conflict_mm : largest distance between the corners placed by sform and by qform; None
        unless both are set
    oddities : what is odd about the file but does not prevent its use, in words
    """

    array: FloatArray
    grid: Grid
    dtype: str
    forms_conflict_mm: float | None = None
    oddities: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Loaded:
    """What the format's own reader found, of any number of axes, not yet judged."""

    array: FloatArray
    affine: FloatArray
    dtype: np.dtype
    forms_conflict_mm: float | None = None
    oddities: tuple[str, ...] = ()


def read_volume(path: Path, *, constant: bool = False) -> Volume:
    """Read a 3-D image whole, with what its file says about it.

    Parameters
    ----------
    constant : whether all voxels may have one value, as in an empty mask

    Raises
    ------
    InputError
        if the file is missing, empty, truncated, damaged or of another format; if it is not 3-D
        (after dropping last axes of length 1), has one slice, colours, complex, NaN or infinite
        voxels, only one value, or an affine that cannot be inverted.
    """
    path = Path(path)
    kind, content, oddities = open_content(path)
    try:
        load = _load_itk if kind in _ITK else _load_nibabel
        loaded = load(path, kind, content)
    except _UNREADABLE as error:
        raise InputError(
            path, f"it cannot be read to its end as {kind} ({reason_of(error)})", DAMAGED
        ) from error
    array = loaded.array
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        raise InputError(
            path,
            f"a 3-D image was expected, its shape is {tuple(array.shape)}",
            "Split a series into single volumes, one file each; one slice is no volume.",
        )
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(path, f"{count} voxels are NaN or infinite", _CONVERT)
    if not constant and array.min() == array.max():
        raise InputError(path, f"all voxels have the value {array.flat[0]:g}", _CONVERT)
    _check_affine(path, loaded.affine)
    x, y, z = array.shape
    return Volume(
        array,
        Grid((x, y, z), loaded.affine),
        loaded.dtype.name,
        loaded.forms_conflict_mm,
        (*oddities, *loaded.oddities),
    )


def read_image(path: Path) -> tuple[FloatArray, Grid]:
    """Read a 3-D image: (x, y, z) float32, and its grid. Errors are those of `read_volume`."""
    volume = read_volume(path)
    return volume.array, volume.grid


def read_mask(path: Path) -> tuple[BoolArray, Grid]:
    """Read a mask: voxels above one half are inside (labels of any number, floats such as 0.999).

    An empty mask is a mask; otherwise errors are those of `read_volume`.
    """
    volume = read_volume(path, constant=True)
    return volume.array > 0.5, volume.grid


def _check_affine(path: Path, affine: FloatArray) -> None:
    mend = "Mend the header (sform, qform, voxel size)."
    if not np.isfinite(affine).all():
        raise InputError(path, "its affine holds NaN or infinite values", mend)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 1e-6:
        axis = "xyz"[int(lengths.argmin())]
        raise InputError(path, f"its affine cannot be inverted: voxel size 0 along {axis}", mend)
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise InputError(path, "its affine cannot be inverted: its axes lie in one plane", mend)


def _check_type(path: Path, dtype: np.dtype) -> None:
    if dtype.kind in "Vc":
        what = "colours (RGB)" if dtype.kind == "V" else "complex numbers"
        raise InputError(
            path,
            f"its voxels are {what}; one real number each was expected",
            "Export the grey values, or the magnitude.",
        )


def _load_nibabel(path: Path, kind: Kind, content: bytes) -> _Loaded:
    image = _NIBABEL[kind].from_bytes(content)
    dtype = image.get_data_dtype()
    _check_type(path, dtype)
    promised = math.prod(image.shape) * dtype.itemsize
    if promised > len(content):  # before nibabel asks for as much memory
        raise EOFError(f"{promised} bytes of voxels are promised, the file has {len(content)}")
    conflict: float | None = None
    oddities: tuple[str, ...] = ()
    if isinstance(image.header, nib.Nifti1Header):
        conflict, oddities = _forms(image.header)
    elif not any(content[_MGH_GOOD_RAS]):  # nibabel sets it, with the default
        oddities = ("its header gives no orientation, FreeSurfer's default is taken",)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # an overflow becomes infinite, which is refused
        array = np.asarray(image.dataobj, dtype=np.float32)
    return _Loaded(array, np.asarray(image.affine, float), dtype, conflict, oddities)


def _forms(header: nib.Nifti1Header) -> tuple[float | None, tuple[str, ...]]:
    """Distance between the corners as sform and qform place them, and what is odd about them."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        return None, ("neither sform nor qform is set: the orientation is nibabel's guess",)
    if not (sform and qform):
        return None, ()
    try:
        difference = header.get_sform() - header.get_qform()
    except HeaderDataError as error:
        return None, (f"its qform cannot be read ({reason_of(error)}), the sform is used",)
    ends = [(0, size - 1) for size in header.get_data_shape()[:3]]
    corners = np.array([[*corner, 1] for corner in itertools.product(*ends)])
    conflict = float(np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max())
    if not np.isfinite(conflict):
        return None, ()  # whichever is used is refused, or the other does not matter
    if conflict <= FORMS_CONFLICT_MM:
        return round(conflict, 4), ()
    oddity = f"sform and qform disagree by up to {conflict:.1f} mm, the sform is used"
    return round(conflict, 4), (oddity,)


def _load_itk(path: Path, kind: Kind, content: bytes) -> _Loaded:
    end = re.search(_HEADER_ENDS[kind], content, re.M)
    header = content if end is None else content[: end.end()]
    if _ELSEWHERE.search(header):
        raise InputError(
            path, "its voxels lie in a second file", "Convert it to one file, e.g. NIfTI."
        )
    if end is not None and _ZIPPED.search(header):
        # ITK compares no checksum, and of a MetaImage it hands out what there is.
        zlib.decompress(content[end.end() :], wbits=47)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_ITK[kind])
    reader.SetFileName(str(path))
    image = reader.Execute()
    if (values := image.GetNumberOfComponentsPerPixel()) > 1:
        raise InputError(
            path,
            f"a 3-D image was expected, its voxels have {values} values each",
            "Split a series into single volumes, one file each; export colours as grey values.",
        )
    array = sitk.GetArrayFromImage(image)
    _check_type(path, array.dtype)
    affine = np.eye(4)
    if array.ndim == 3:
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        affine[:2] *= -1  # ITK's world is LPS
    lost = kind == "NRRD" and "NRRD_space" not in image.GetMetaDataKeys()
    oddities = ("its header names no space: the orientation is ITK's guess",) if lost else ()
    return _Loaded(np.asarray(array, np.float32).T, affine, array.dtype, None, oddities)
