"""NIfTI headers as they are found in the wild, read as ITK and nifti_clib read them.

What is not what the standard asks for is repaired where there is one way to do so, and said; what
can be read in two ways is refused. The repaired header is also what results are written with.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from dal_auto.case import FloatArray
from dal_auto.findings import Finding
from dal_auto.images.oddities import (
    FORMS_CONFLICT,
    FORMS_CONFLICT_MM,
    NO_ORIENTATION,
    QFORM_UNREADABLE,
    REPAIRED,
    UNIT,
)

NiftiKind = Literal["NIfTI-1", "NIfTI-2"]
_HEADERS: dict[str, type[nib.Nifti1Header]] = {
    "NIfTI-1": nib.Nifti1Header,
    "NIfTI-2": nib.Nifti2Header,
}
#: Code of the unit of length (the lowest three bits of ``xyzt_units``) → name, mm.
_UNITS: dict[int, tuple[str, float]] = {
    0: ("", 1.0),
    1: ("metres", 1e3),
    2: ("mm", 1.0),
    3: ("microns", 1e-3),
}
_MM = 2
#: No scan of a head, or of a body, is smaller or larger: mm along its longest axis.
_EXTENT_MM = (10.0, 3000.0)
#: Voxels of fewer mm are in metres, of more in microns, where that gives a scan its size.
_SURELY_METRES_MM, _SURELY_MICRONS_MM = 0.02, 100.0
#: Bytes between the header and the voxels of a single file: none, or the four that say whether
#: extensions follow.
_GAPS = (0, 4)
_UNIT_QUATERNION = 1e-3


class BadHeaderError(Exception):
    """A header that can be read in two ways, or in none.

    Parameters
    ----------
    finding : what was found
    remedy : what the user can do about it
    """

    def __init__(self, finding: str, remedy: str) -> None:
        self.finding, self.remedy = finding, remedy
        super().__init__(finding)


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """A header that can be used.

    Parameters
    ----------
    fields : the repaired header, in the units of the file
    affine : (4, 4), voxel indices → RAS mm
    offset : byte of the file, decompressed, at which its voxels begin
    forms_conflict_mm : largest distance between the corners placed by sform and by qform; None
        unless both are set
    oddities : what was repaired, or is a guess
    """

    fields: nib.Nifti1Header
    affine: FloatArray
    offset: int
    forms_conflict_mm: float | None
    oddities: tuple[Finding, ...]


def parse_header(kind: NiftiKind, start: bytes) -> tuple[nib.Nifti1Header, list[str]]:
    """The header of a file with its fields repaired, and what was repaired, in words.

    Parameters
    ----------
    start : the first bytes of the file, decompressed; 540 are enough
    """
    of_kind = _HEADERS[kind]
    header = of_kind(start[: of_kind.sizeof_hdr], check=False)
    return header, [*_mend_shape(header), *_mend_sizes(header), *_mend_forms(header)]


def read_header(kind: NiftiKind, content: bytes) -> NiftiHeader:
    """Read the header of a whole file, decompressed.

    Raises
    ------
    BadHeaderError
        if voxels or unit can be told in no one way.
    HeaderDataError, EOFError
        if its type is unknown, or there are fewer voxels than promised.
    """
    header, repairs = parse_header(kind, content)
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    promised = math.prod(shape) * dtype.itemsize
    if promised > len(content):  # before anyone asks for as much memory
        raise EOFError(f"{promised} bytes of voxels are promised, the file has {len(content)}")
    offset, moved = _offset(header, len(content) - promised)
    affine, conflict, about_forms = _affine(header)
    scale, about_unit = _unit(header, affine, shape)
    affine[:3] *= scale
    oddities = [
        *(REPAIRED.found(words) for words in (*repairs, *moved)),
        *about_forms,
        *(UNIT.found(words) for words in about_unit),
    ]
    if conflict is not None:
        conflict = round(conflict * scale, 4)
        if conflict > FORMS_CONFLICT_MM:
            words = f"sform and qform disagree by up to {conflict:.1f} mm, the sform is used"
            oddities.append(FORMS_CONFLICT.found(words, value=conflict, limit=FORMS_CONFLICT_MM))
    return NiftiHeader(header, affine, offset, conflict, tuple(oddities))


def header_like(header: nib.Nifti1Header) -> nib.Nifti1Header:
    """A new header on the same grid, to the letter: qform, sform, their codes and the units.

    Parameters
    ----------
    header : as `parse_header` gives it
    """
    new = nib.Nifti1Header()
    new["pixdim"][:4] = header["pixdim"][:4]
    for name in (
        *("qform_code", "quatern_b", "quatern_c", "quatern_d"),
        *("qoffset_x", "qoffset_y", "qoffset_z"),
        *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
    ):
        new[name] = header[name]
    return new


def _mend_shape(header: nib.Nifti1Header) -> list[str]:
    """Axes beyond the third that are promised and have no length have one voxel."""
    told = header["dim"].copy()
    for axis in range(4, min(int(told[0]), 7) + 1):
        if told[axis] < 1:
            header["dim"][axis] = 1
    if (header["dim"] == told).all():
        return []
    return [
        f"its header promises {told[0]} axes, of {tuple(map(int, told[1 : told[0] + 1]))} voxels"
    ]


def _mend_sizes(header: nib.Nifti1Header) -> list[str]:
    """Voxel sizes, the side of the quaternion, unit and intercept."""
    found = []
    sizes = header["pixdim"]
    if (sizes[1:4] < 0).any():
        found.append(f"its voxel sizes are negative ({', '.join(f'{s:g}' for s in sizes[1:4])})")
        sizes[1:4] = np.abs(sizes[1:4])
    missing = ~(np.isfinite(sizes[1:4]) & (sizes[1:4] > 0))
    if missing.any() and header["sform_code"] > 0 and _usable(header.get_sform()):
        words = f"its voxel sizes are no lengths ({', '.join(f'{s:g}' for s in sizes[1:4])})"
        found.append(f"{words}, those of the sform are taken")
        sizes[1:4][missing] = np.linalg.norm(header.get_sform()[:3, :3], axis=0)[missing]
    sizes[0] = -1 if sizes[0] < 0 else 1
    units = int(header["xyzt_units"])
    if units & 7 not in _UNITS:
        found.append(f"its unit of length is unknown (code {units & 7}), mm are taken")
        header["xyzt_units"] = _MM
    elif units & ~0b111111:
        header["xyzt_units"] = units & 0b111111
    if not np.isfinite(header["scl_slope"]) or not np.isfinite(header["scl_inter"]):
        if np.isfinite(header["scl_slope"]) and header["scl_slope"] != 0:
            found.append("its intercept is no number, 0 is taken")
        header["scl_inter"] = 0
    return found


def _mend_forms(header: nib.Nifti1Header) -> list[str]:
    """Codes below 0 set no form, nor does an sform that cannot be inverted beside a good qform; a
    quaternion longer than 1 is shortened, as nifti_clib does."""
    for name in ("qform_code", "sform_code"):
        header[name] = max(0, int(header[name]))
    return [*_mend_quaternion(header), *_mend_sform(header)]


def _mend_quaternion(header: nib.Nifti1Header) -> list[str]:
    parts = ("quatern_b", "quatern_c", "quatern_d")
    length = math.sqrt(sum(float(header[name]) ** 2 for name in parts))
    if not header["qform_code"] or length <= 1:
        return []
    if not math.isfinite(length):
        if header["sform_code"]:
            header["qform_code"] = 0
            return ["its qform is no number, the sform is used"]
        return []
    for name in parts:
        header[name] = float(header[name]) / length
    too_long = length > 1 + _UNIT_QUATERNION
    return [f"the quaternion of its qform has length {length:.3f}, 1 is taken"] if too_long else []


def _mend_sform(header: nib.Nifti1Header) -> list[str]:
    if not (header["qform_code"] and header["sform_code"]) or _usable(header.get_sform()):
        return []
    try:
        if not _usable(header.get_qform()):
            return []
    except HeaderDataError:
        return []
    header["sform_code"] = 0
    return ["its sform cannot be inverted, the qform is used"]


def _offset(header: nib.Nifti1Header, spare: int) -> tuple[int, list[str]]:
    """Where the voxels begin.

    Parameters
    ----------
    spare : bytes of the file that are not voxels

    Raises
    ------
    BadHeaderError
        if that is inside the header, and the length of the file does not tell either.
    """
    told, least = float(header["vox_offset"]), int(header.sizeof_hdr)
    starts = [least + gap for gap in _GAPS]
    if told == starts[-1] or (told > starts[-1] and told == int(told) and told <= spare):
        if told > spare:
            raise EOFError(f"{int(told) - spare} bytes of voxels are missing")
        return int(told), []
    if spare < least:
        raise EOFError(f"{least - spare} bytes of voxels are missing")
    if spare in starts:
        return spare, [f"vox_offset is {told:g}; its voxels begin at byte {spare}"]
    if told > spare:
        raise EOFError(f"its voxels should begin at byte {told:g}, {told - spare:g} are missing")
    raise BadHeaderError(
        f"its vox_offset is {told:g}, inside the header, and {spare} bytes of the file are not "
        "voxels: where they begin cannot be told",
        f"Set vox_offset ({starts[-1]} where no extension follows the header).",
    )


def _affine(header: nib.Nifti1Header) -> tuple[FloatArray, float | None, list[Finding]]:
    """The affine in the file's unit, how far the forms disagree, and what is odd about them."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        words = "neither sform nor qform is set: the orientation is nibabel's guess"
        return header.get_base_affine(), None, [NO_ORIENTATION.found(words)]
    if not qform:
        return header.get_sform(), None, []
    try:
        by_qform = header.get_qform()
    except HeaderDataError as error:
        if not sform:
            raise
        words = f"its qform cannot be read ({error}), the sform is used"
        return header.get_sform(), None, [QFORM_UNREADABLE.found(words)]
    if not sform:
        return by_qform, None, []
    by_sform = header.get_sform()
    ends = [(0, size - 1) for size in header.get_data_shape()[:3]]
    corners = np.array([[*corner, 1] for corner in itertools.product(*ends)])
    if corners.shape[1] != 4:
        return by_sform, None, []
    conflict = float(np.linalg.norm((corners @ (by_sform - by_qform).T)[:, :3], axis=1).max())
    return by_sform, conflict if math.isfinite(conflict) else None, []


def _usable(affine: FloatArray) -> bool:
    return bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) > 0


def _unit(
    header: nib.Nifti1Header, affine: FloatArray, shape: tuple[int, ...]
) -> tuple[float, list[str]]:
    """Mm in the unit of length, and what is odd about it.

    The unit that the header names is taken, unless the image would have a size that no scan has,
    and another unit gives it one that a scan may have.
    """
    name, scale = _UNITS[int(header["xyzt_units"]) & 7]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    extent = float((sizes * (*shape, 1, 1, 1)[:3]).max())
    if not math.isfinite(extent) or extent <= 0:
        return scale, []  # said by who checks affines

    def fits(mm: float) -> bool:
        return _EXTENT_MM[0] <= extent * mm <= _EXTENT_MM[1]

    if fits(scale):
        return scale, [f"its unit of length is {name}"] if scale != 1 else []
    said = f"the header says {name or 'no unit of length'}, in which it would be "
    said += f"{extent * scale:.3g} mm long"
    if scale != 1 and fits(1):
        return 1, [f"{said}; mm are taken"]
    if scale == 1 and sizes.max() < _SURELY_METRES_MM and fits(1e3):
        return 1e3, [f"{said}; metres are taken"]
    if scale == 1 and sizes.min() > _SURELY_MICRONS_MM and fits(1e-3):
        return 1e-3, [f"{said}; microns are taken"]
    if scale != 1:
        raise BadHeaderError(
            f"its unit of length is {name}, and it would be {extent * scale:.3g} mm long",
            "Mend the header (xyzt_units, voxel size).",
        )
    return 1, []
