"""What is measured on one image: its grid, its voxels, and whether it is a stripped brain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.findings import Finding
from dal_auto.images import Volume
from dal_auto.preprocessing.fingerprint.kinds import FIELD_OF_VIEW, NEGATIVE, THICK
from dal_auto.preprocessing.fingerprint.skull import skull_signs
from dal_auto.schema import Section
from dal_auto.volumes import box_around, components, largest_component

PERCENTILES = (1.0, 50.0, 99.0)
#: Figures that need no single voxel are measured at about this spacing.
_COARSE_MM = 2.0
#: Percentiles of more voxels than this are those of every n-th.
_ENOUGH_VOXELS = 2_000_000
#: Threshold between head and air, from the 2nd to the 98th percentile, as in FSL's BET (Smith,
#: Human Brain Mapping 17, 143–155, 2002).
_HEAD_SHARE = 0.1
_BIAS_SPACING_MM, _BIAS_BLUR_MM = 4.0, 20.0
#: Slices thicker than this make other contrasts and lesions of their own (IXI has a T2 of 5 mm).
_THICK_MM = 4.5
_FIELD_OF_VIEW_MM = (60.0, 600.0)


class ImageFingerprint(Section):
    """One image file.

    Parameters
    ----------
    shape, spacing_mm, axcodes : the grid; axis codes as nibabel's (where each axis goes)
    oblique_degrees : largest angle between a voxel axis and the nearest world axis
    minimum, maximum : intensities
    negative_voxels : how many voxels are below 0
    nonzero_ml : volume that is not exactly 0
    stripped : measured, see `skull.SkullSigns`
    skull_signs : from what, in words
    atlas_dice : overlap of the non-zero voxels with the atlas's brain; None if not in its box
    dtype : type of the voxels on disk, such as "int16"
    forms_conflict_mm : largest distance between voxel corners placed by sform and by qform; None
        unless both are set
    voxels_sha256 : hash of shape and float32 voxels; the same voxels under two names have the same
    percentiles : 1, 50 and 99 % of the non-zero voxels
    bias_share : how much a smooth field through the foreground varies (standard deviation by mean;
        0.02 to 0.07 after N4, 0.06 to 0.2 before, measured); a hint, since anatomy varies as well
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axcodes: str
    oblique_degrees: float
    minimum: float
    maximum: float
    negative_voxels: int
    nonzero_ml: float
    stripped: bool
    atlas_dice: float | None
    dtype: str = ""
    forms_conflict_mm: float | None = None
    voxels_sha256: str = ""
    percentiles: tuple[float, ...] = ()
    bias_share: float | None = None
    skull_signs: str = ""


@dataclass(frozen=True, eq=False)
class Coarse:
    """Every n-th voxel of an image, about 2 mm apart, for figures that need no more.

    Parameters
    ----------
    array, foreground : (x, y, z) image, and where it is brain (stripped) or head
    grid : their grid
    step : every how manieth voxel along each axis
    """

    array: FloatArray
    foreground: BoolArray
    grid: Grid
    step: tuple[int, int, int]


def fingerprint_image(volume: Volume) -> ImageFingerprint:
    """Measure one image, all but its place on the atlas."""
    array, grid = volume.array, volume.grid
    values = array[array != 0]
    values = values[:: 1 + values.size // _ENOUGH_VOXELS]
    skull = skull_signs(array, grid)
    x, y, z = (round(mm, 4) for mm in grid.spacing_mm)
    return ImageFingerprint(
        shape=grid.shape,
        spacing_mm=(x, y, z),
        axcodes=grid.axcodes,
        oblique_degrees=round(_oblique_degrees(grid), 2),
        minimum=float(array.min()),
        maximum=float(array.max()),
        negative_voxels=int(np.count_nonzero(array < 0)),
        nonzero_ml=round(skull.nonzero_ml, 2),
        stripped=skull.stripped,
        skull_signs=str(skull),
        atlas_dice=None,
        dtype=volume.dtype,
        forms_conflict_mm=volume.forms_conflict_mm,
        voxels_sha256=_voxels_sha256(array),
        percentiles=tuple(_rounded(value) for value in np.percentile(values, PERCENTILES)),
        bias_share=_bias_share(
            coarse(array, grid, stripped=skull.stripped, spacing_mm=_BIAS_SPACING_MM)
        ),
    )


def image_findings(name: str, volume: Volume, figures: ImageFingerprint) -> list[Finding]:
    """What is odd about one image."""
    found = list(volume.oddities)
    if figures.negative_voxels:
        words = f"{figures.negative_voxels} voxels below 0, down to {figures.minimum:g}"
        found.append(NEGATIVE.found(f"{words}; they become 0", value=figures.minimum, limit=0))
    thickest = max(figures.spacing_mm)
    if thickest > _THICK_MM:
        found.append(THICK.found(f"slices of {thickest:.1f} mm", value=thickest, limit=_THICK_MM))
    extent = max(size * mm for size, mm in zip(figures.shape, figures.spacing_mm, strict=True))
    least, most = _FIELD_OF_VIEW_MM
    if not least <= extent <= most:
        words = f"a field of view of {extent:.3g} mm; is the header in mm?"
        found.append(FIELD_OF_VIEW.found(words, value=extent, limit=_FIELD_OF_VIEW_MM))
    return [finding.about(name) for finding in found]


def coarse(
    array: FloatArray, grid: Grid, *, stripped: bool, spacing_mm: float = _COARSE_MM
) -> Coarse:
    """Thin an image out to about `spacing_mm`; thicker slices stay as they are."""
    i, j, k = (max(1, round(spacing_mm / mm)) for mm in grid.spacing_mm)
    thin = np.ascontiguousarray(array[::i, ::j, ::k])
    x, y, z = thin.shape
    foreground = thin != 0
    if not stripped:
        low, high = np.percentile(thin, (2, 98))
        foreground = largest_component(thin > low + _HEAD_SHARE * (high - low))
    affine = grid.affine @ np.diag([i, j, k, 1.0])
    return Coarse(thin, foreground, Grid((x, y, z), affine), (i, j, k))


def largest_piece_ml(mask: BoolArray, grid: Grid) -> float:
    """Volume of the largest 26-connected piece of `mask`."""
    box = box_around(mask)
    largest = 0 if box is None else components(mask[box])[1].max()
    return round(float(largest) * grid.voxel_ml, 2)


def _oblique_degrees(grid: Grid) -> float:
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _voxels_sha256(array: FloatArray) -> str:
    digest = hashlib.sha256(repr(array.shape).encode())
    # In the order of NIfTI, so that mostly nothing is copied.
    digest.update(np.ascontiguousarray(array.T).data)
    return digest.hexdigest()


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _bias_share(image: Coarse) -> float | None:
    weights = image.foreground.astype(np.float32)
    sigma = [_BIAS_BLUR_MM / mm for mm in image.grid.spacing_mm]
    blurred = [
        ndimage.gaussian_filter(part, sigma, mode="constant", truncate=3)
        for part in (image.array * weights, weights)
    ]
    if not image.foreground.any():
        return None
    field = blurred[0][image.foreground] / blurred[1][image.foreground]
    mean = float(field.mean())
    return round(float(field.std()) / mean, 4) if mean > 0 else None
