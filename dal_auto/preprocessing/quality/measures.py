"""What is measured on a standard case to tell whether it is what it should be.

All is measured on blocks of voxels, 2 or 4 mm wide where voxels are 1 mm: single voxels do not
agree between two people or two sequences, blocks do, and there are 8 or 64 times fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from dal_auto.case import BoolArray, FloatArray
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.resampling import resample
from dal_auto.volumes import block_mean

#: Brain farther than this from the atlas's is none: a rigidly registered large head reaches 8 mm.
LEAK_MM = 10.0
_BINS = 16
#: Misalignment is searched for as far as this, on about so many points.
_SEARCH_MM, _SEARCH_DEGREES, _POINTS = 8.0, 10.0, 10_000
_FEWEST_POINTS = 500
#: A block of white matter may differ this much (in log) from the median before the field is known.
_WHITE_RANGE = 0.35


@dataclass(frozen=True, eq=False)
class AtlasOnGrid:
    """The atlas on the target grid, and what the measures want of it.

    Parameters
    ----------
    image : (x, y, z) T1, 0 outside the brain
    brain : (x, y, z) bool
    far : (x/2, y/2, z/2) bool, blocks of 2³ voxels farther than `LEAK_MM` from the brain
    white : (x, y, z) bool, white matter without its outermost voxels
    """

    image: FloatArray
    brain: BoolArray
    far: BoolArray
    white: BoolArray


@lru_cache(maxsize=2)
def atlas_on_grid(atlas: Atlas, shape: tuple[int, int, int]) -> AtlasOnGrid:
    """`atlas`, cropped or padded to `shape`; kept, since every case of a run wants the same."""
    grid = centre_crop_or_pad(atlas.grid, shape)
    image = resample(atlas.image, atlas.grid, grid, np.eye(4))
    brain = image > 0
    coarse = block_mean(brain, 2) >= 0.5
    spacing_mm = [2 * mm for mm in grid.spacing_mm]
    far = ndimage.distance_transform_edt(~coarse, sampling=spacing_mm) > LEAK_MM
    return AtlasOnGrid(image, brain, far, ndimage.binary_erosion(image > _white_from(image[brain])))


def _white_from(intensities: FloatArray) -> float:
    """Intensity at which white matter begins in a T1: the upper of Otsu's two thresholds."""
    if intensities.size == 0 or np.ptp(intensities) == 0:
        return np.inf
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    otsu.Execute(sitk.GetImageFromArray(intensities[None].astype(np.float32)))
    return float(otsu.GetThresholds()[1])


def masked_block_mean(
    image: FloatArray, mask: BoolArray, size: int
) -> tuple[FloatArray, BoolArray]:
    """Mean over the masked voxels of every block, and which blocks are at least half masked."""
    share = block_mean(mask, size)
    total = block_mean(np.where(mask, image, 0), size)
    return total / np.maximum(share, 1e-6), share >= 0.5


def normalised_mutual_information(first: FloatArray, second: FloatArray) -> float:
    """2 I(a, b) / (H(a) + H(b)) of intensities in 16 bins: 0 unrelated, 1 each tells the other.

    Bins are of equal width between the 0.5th and the 99.5th percentile.
    """
    return _information(_levels(first).astype(np.intp), _levels(second).astype(np.intp))


def _levels(values: FloatArray, of: FloatArray | None = None) -> FloatArray:
    """Values as positions in [0, `_BINS`), by the percentiles of `of` or their own."""
    low, high = np.percentile(values if of is None else of, [0.5, 99.5])
    place = (values - low) / max(float(high - low), 1e-9) * _BINS
    return np.clip(place, 0, np.nextafter(np.float32(_BINS), np.float32(0))).astype(np.float32)


def _information(first: np.ndarray, second: np.ndarray) -> float:
    counts = np.bincount(first * _BINS + second, minlength=_BINS**2).reshape(_BINS, _BINS)
    joint = counts / max(first.size, 1)

    def entropy(share: FloatArray) -> float:
        share = share[share > 0]
        return float(-(share * np.log(share)).sum())

    apart = entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))
    return 2 * (apart - entropy(joint)) / apart if apart > 0 else 0.0


def alignment(
    fixed: FloatArray, moving: FloatArray, brain: BoolArray, voxel_mm: float
) -> tuple[float, float] | None:
    """How well two sequences lie on each other, and how far off they seem to be.

    From where it is, `moving` is moved rigidly until the mutual information inside the brain is
    largest (Powell's method from one start, so that it is a check and no second registration). If
    it lay well, it stays.

    Parameters
    ----------
    fixed, moving : (x, y, z) on one grid of cubic voxels
    brain : (x, y, z) bool
    voxel_mm : length of a voxel's edge

    Returns
    -------
    normalised mutual information where `moving` is, and the mean distance in mm by which the
    brain's voxels would move; None if the brain is too small to tell
    """
    solid = block_mean(brain, 2) > 0.99
    core = ndimage.binary_erosion(solid, iterations=2)  # what moves in from outside is no brain
    points = np.argwhere(core)
    if len(points) < _FEWEST_POINTS:
        return None
    points = points[:: max(1, len(points) // _POINTS)]
    there = _levels(block_mean(fixed, 2)[tuple(points.T)]).astype(np.intp)
    blocks = block_mean(moving, 2)
    levels = _levels(blocks, of=blocks[solid])
    centre = points.mean(axis=0)
    around = points - centre

    def moved(pose: FloatArray) -> FloatArray:
        """Points after a shift in mm and a rotation in degrees about the brain's centre."""
        rotation = Rotation.from_rotvec(pose[3:], degrees=True).as_matrix()
        return around @ rotation.T + centre + pose[:3] / (2 * voxel_mm)

    def information(pose: FloatArray) -> float:
        sampled = ndimage.map_coordinates(levels, moved(pose).T, order=1, mode="nearest")
        return _information(there, sampled.astype(np.intp))

    pose = _best_pose(information)
    distance = np.linalg.norm(moved(pose) - points, axis=1).mean() * 2 * voxel_mm
    return information(np.zeros(6)), float(distance)


def _best_pose(information: Callable[[FloatArray], float]) -> FloatArray:
    found = optimize.minimize(
        lambda pose: -information(pose),
        np.zeros(6),
        method="Powell",
        bounds=[(-_SEARCH_MM, _SEARCH_MM)] * 3 + [(-_SEARCH_DEGREES, _SEARCH_DEGREES)] * 3,
        options={"maxfev": 250, "xtol": 0.05, "ftol": 1e-4},
    )
    return np.asarray(found.x) if -found.fun > information(np.zeros(6)) else np.zeros(6)


def residual_bias(image: FloatArray, brain: BoolArray, white: BoolArray) -> float | None:
    """Coefficient of variation of the smooth field that is left in the white matter.

    A polynomial of second order is fitted to the log intensities of blocks of 4³ voxels; blocks
    that are no white matter here (the atlas's is taken, and rigid registration does not bring every
    fold to its place), and lesions, are dropped as outliers. The white matter is not equally bright
    everywhere, so that a perfect T1 has about 0.01 and a T2 0.03.

    Parameters
    ----------
    image : (x, y, z) of one sequence
    brain, white : (x, y, z) bool, the case's brain and the atlas's white matter

    Returns
    -------
    standard deviation of the log of the field; None if there is too little white matter
    """
    mean, inside = masked_block_mean(image, brain & white, 4)
    inside &= mean > 0
    if inside.sum() < 100:
        return None
    logs = np.log(mean[inside].astype(float))
    x, y, z = (np.argwhere(inside) / np.array(inside.shape) * 2 - 1).T
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=1)
    kept = np.abs(logs - np.median(logs)) < _WHITE_RANGE
    field = np.zeros_like(logs)
    for _ in range(5):
        if kept.sum() < 100:
            return None
        field = terms @ np.linalg.lstsq(terms[kept], logs[kept], rcond=None)[0]
        rest = logs - field
        spread = 1.4826 * float(np.median(np.abs(rest[kept])))
        kept = np.abs(rest) <= 2.5 * max(spread, 1e-3)
    return float(field[kept].std())
