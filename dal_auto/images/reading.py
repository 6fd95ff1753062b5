"""Reading images: NIfTI, FreeSurfer's MGH, NRRD, MetaImage; whole, as float32 in RAS world."""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import ArrayLike

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import InputError
from dal_auto.findings import Finding
from dal_auto.images.background import (
    AmbiguousValuesError,
    above_background,
    nan_to_background,
)
from dal_auto.images.content import DAMAGED, Kind, open_content, reason_of
from dal_auto.images.labels import MOST_LABELS, is_label_map
from dal_auto.images.nifti import BadHeaderError, NiftiKind, read_header
from dal_auto.images.oddities import BACKGROUND, NO_ORIENTATION, SHEARED
from dal_auto.images.shear import MOST_SHEAR_DEGREES, is_sheared, shear_degrees

_UNREADABLE = (
    OSError,
    EOFError,
    ImageFileError,
    HeaderDataError,
    ValueError,
    RuntimeError,  # ITK's
    zlib.error,
)
_MGH_GOOD_RAS = slice(28, 30)
_ITK = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
#: Where the headers of NRRD and MetaImage end, and what their lines say of the voxels.
_HEADER_ENDS = {"NRRD": rb"\r?\n\r?\n", "MetaImage": rb"^ElementDataFile *=.*\r?\n"}
_ELSEWHERE = re.compile(rb"^(data ?file: *|ElementDataFile *= *)(?!LOCAL\s)\S", re.I | re.M)
_ZIPPED = re.compile(rb"^(encoding: *gz|CompressedData *= *True)", re.I | re.M)
_CONVERT = "Convert it again from its source."
#: Scans have hundreds of values; noise alone gives more than this.
_FEWEST_VALUES = 8
_ENOUGH_VOXELS = 100_000


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
    oddities : what is odd about the file but does not prevent its use
    """

    array: FloatArray
    grid: Grid
    dtype: str
    forms_conflict_mm: float | None = None
    oddities: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class _Loaded:
    """What the format's own reader found, of any number of axes, not yet judged."""

    array: FloatArray
    affine: FloatArray
    dtype: np.dtype
    forms_conflict_mm: float | None = None
    oddities: tuple[Finding, ...] = ()


def read_volume(path: Path, *, constant: bool = False) -> Volume:
    """Read a 3-D image whole, with what its file says about it.

    Parameters
    ----------
    constant : whether all voxels may have one value, as in an empty mask

    Raises
    ------
    InputError
        if the file is missing, empty, truncated, damaged or of another format; if it is not 3-D
        (after dropping last axes of length 1), has one slice, colours, complex or infinite voxels,
        NaN anywhere but around the image, only one value, or an affine that cannot be inverted.
    """
    path = Path(path)
    kind, content, oddities = open_content(path)
    try:
        loaded = _load(path, kind, content)
    except _UNREADABLE as error:
        raise InputError(
            path, f"it cannot be read to its end as {kind} ({reason_of(error)})", DAMAGED
        ) from error
    array = loaded.array
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        _complain_about_shape(path, array.shape)
    try:
        array, blank = nan_to_background(array)
    except AmbiguousValuesError as error:
        raise InputError(path, str(error), _CONVERT) from error
    words = f"{blank} voxels around it are NaN: they become 0"
    blanks = [BACKGROUND.found(words, value=blank)] if blank else []
    if not constant and array.min() == array.max():
        raise InputError(path, f"all voxels have the value {array.flat[0]:g}", _CONVERT)
    _check_affine(path, loaded.affine)
    x, y, z = array.shape
    grid = Grid((x, y, z), loaded.affine)
    return Volume(
        array,
        grid,
        loaded.dtype.name,
        loaded.forms_conflict_mm,
        (*oddities, *loaded.oddities, *_shear(grid), *blanks),
    )


def read_scan(path: Path) -> Volume:
    """Read a 3-D image as the chain wants it: background 0, all that was measured above it.

    Raises
    ------
    InputError
        as `read_volume`, where the background cannot be told, and for a map of labels.
    """
    volume = read_volume(path)
    _check_values(path, volume.array)
    try:
        array, words = above_background(volume.array)
    except AmbiguousValuesError as error:
        raise InputError(path, str(error), "Save magnitudes, with air at 0.") from error
    if words is None:
        return volume
    return replace(volume, array=array, oddities=(*volume.oddities, BACKGROUND.found(words)))


def read_image(path: Path) -> tuple[FloatArray, Grid]:
    """Read a 3-D image: (x, y, z) float32, and its grid. Errors are those of `read_volume`."""
    volume = read_volume(path)
    return volume.array, volume.grid


def read_mask(path: Path) -> tuple[BoolArray, Grid]:
    """Read a mask: voxels above one half are inside (labels of any number, floats such as 0.999).

    An empty mask is a mask; otherwise errors are those of `read_volume`.

    Raises
    ------
    InputError
        also if it has values, but none above one half.
    """
    volume = read_volume(path, constant=True)
    mask, highest = volume.array > 0.5, float(volume.array.max())
    if highest > 0 and not mask.any():
        raise InputError(
            path,
            f"its highest value is {highest:g}, and what is above 0.5 counts as inside",
            "Scale it so that 1 is inside, or cut it at the value that you mean.",
        )
    return mask, volume.grid


def _check_values(path: Path, array: FloatArray) -> None:
    some = array.ravel()[:: 1 + array.size // _ENOUGH_VOXELS]
    if np.unique(some).size > MOST_LABELS:
        return
    values = np.unique(array)
    if values.size < _FEWEST_VALUES:
        shown = ", ".join(f"{value:g}" for value in values)
        finding = f"its voxels have {values.size} values ({shown}): labels or a mask, and no scan"
        raise InputError(path, finding, "Give the image itself.")
    if is_label_map(array, values):
        finding = f"its voxels have {values.size} values, each a region: a label map, and no scan"
        raise InputError(path, finding, "Give the image itself.")


def _complain_about_shape(path: Path, shape: tuple[int, ...]) -> NoReturn:
    finding = f"a 3-D image was expected, its shape is {tuple(shape)}"
    lengths = [size for size in shape if size != 1]
    if len(shape) > 3 and len(lengths) == 3:
        place = ("first", "second", "third", "fourth")[shape.index(1)]
        remedy = (
            f"Drop its {place} axis, of length 1; voxel size and orientation must be those of the "
            "other three."
        )
    else:
        remedy = "Split a series into single volumes, one file each; one slice is no volume."
    raise InputError(path, finding, remedy)


def _shear(grid: Grid) -> list[Finding]:
    if not is_sheared(grid):
        return []
    angle = shear_degrees(grid.affine)
    words = f"its axes are sheared, {angle:.1f}° off a right angle; it is resampled to be worked on"
    return [SHEARED.found(words, value=angle)]


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
    if (shear := shear_degrees(affine)) > MOST_SHEAR_DEGREES:
        raise InputError(path, f"its axes are sheared, {shear:.0f}° off a right angle", mend)


def _check_type(path: Path, dtype: np.dtype) -> None:
    if dtype.kind in "Vc":
        what = "colours (RGB)" if dtype.kind == "V" else "complex numbers"
        raise InputError(
            path,
            f"its voxels are {what}; one real number each was expected",
            "Export the grey values, or the magnitude.",
        )


def _load(path: Path, kind: Kind, content: bytes) -> _Loaded:
    if kind == "MGH":
        return _load_mgh(content)
    if kind == "NRRD" or kind == "MetaImage":
        return _load_itk(path, kind, content)
    return _load_nifti(path, kind, content)


def _load_nifti(path: Path, kind: NiftiKind, content: bytes) -> _Loaded:
    try:
        found = read_header(kind, content)
    except BadHeaderError as error:
        raise InputError(path, error.finding, error.remedy) from error
    header = found.fields
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    _check_type(path, dtype)
    slope, inter = header.get_slope_inter()
    scaling = (1.0, 0.0) if slope is None else (slope, inter)
    array = _float32(ArrayProxy(io.BytesIO(content), (shape, dtype, found.offset, *scaling)))
    return _Loaded(array, found.affine, dtype, found.forms_conflict_mm, found.oddities)


def _load_mgh(content: bytes) -> _Loaded:
    image = nib.MGHImage.from_bytes(content)
    dtype = image.get_data_dtype()
    promised = math.prod(image.shape) * dtype.itemsize
    if promised > len(content):  # before nibabel asks for as much memory
        raise EOFError(f"{promised} bytes of voxels are promised, the file has {len(content)}")
    oddities: tuple[Finding, ...] = ()
    if not any(content[_MGH_GOOD_RAS]):  # nibabel sets it, with the default
        words = "its header gives no orientation, FreeSurfer's default is taken"
        oddities = (NO_ORIENTATION.found(words),)
    affine = np.asarray(image.affine, float)
    return _Loaded(_float32(image.dataobj), affine, dtype, None, oddities)


def _float32(voxels: ArrayLike) -> FloatArray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # an overflow becomes infinite, which is refused
        return np.asarray(voxels, dtype=np.float32)


def _load_itk(path: Path, kind: Literal["NRRD", "MetaImage"], content: bytes) -> _Loaded:
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
    words = "its header names no space: the orientation is ITK's guess"
    oddities = (NO_ORIENTATION.found(words),) if lost else ()
    return _Loaded(np.asarray(array, np.float32).T, affine, array.dtype, None, oddities)
