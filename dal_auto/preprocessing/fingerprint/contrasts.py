"""Is the T1 a T1, and the T2 a T2? Told by the voxels, since files are swapped and misnamed.

In the middle of every brain dark white matter surrounds bright fluid on a T2, and the other way
round on a T1 and a FLAIR: the skewness of the intensities there is +1.6 to +2.0 for T2, and −0.7 to
−1.6 for T1, with skull as without (measured on nine T1 and six T2 of five studies).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from dal_auto.case import FloatArray
from dal_auto.findings import Finding
from dal_auto.preprocessing.fingerprint.image import Coarse
from dal_auto.preprocessing.fingerprint.kinds import CONTRAST
from dal_auto.volumes import correlation

#: The ventricles and the deep grey lie in a ball of this radius, so far below the top of the head.
_DEPTH_MM, _RADIUS_MM = 70.0, 35.0
#: Of the largest slice's area; less is noise, or a fold of the scalp.
_TOP_SHARE = 0.02
#: A T1 above, or a T2 below, is another contrast. Proton density reaches +0.5, FLAIR −1.4 to 0.
_T1_AT_MOST, _T2_AT_LEAST = 0.8, -0.3
#: 99.5th to 90th percentile of a stripped T1. White matter is the brightest there is (measured 1.11
#: to 1.23); vessels and rims that take up a contrast agent are brighter. Only simulated: where they
#: are 1 % of the brain, at 1.9 times the 90th percentile, the ratio is 1.44 to 1.54.
_BRIGHTEST_RATIO = 1.4


def deep_skewness(image: Coarse) -> float | None:
    """Skewness of the intensities in the middle of the brain, the outer 1 % on each side left out.

    None where too little of it is in the image.
    """
    ball = _middle_of_the_brain(image)
    values = image.array[ball & (image.array != 0)]
    if values.size < 500:
        return None
    low, high = np.percentile(values, (1, 99))
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return None
    middle = values[(values >= low) & (values <= high)].astype(np.float64)
    off = middle - middle.mean()
    return float((off**3).mean() / (off**2).mean() ** 1.5)


def brightest_ratio(image: Coarse) -> float | None:
    """99.5th to 90th percentile of the foreground; None if the latter is not positive."""
    ninety, brightest = np.percentile(image.array[image.foreground], (90, 99.5))
    return float(brightest / ninety) if ninety > 0 else None


def common_correlation(first: Coarse, second: Coarse) -> float | None:
    """Pearson correlation of two images of one grid inside their common foreground."""
    common = first.foreground & second.foreground
    pair = first.array[common], second.array[common]
    if common.sum() < 500 or np.ptp(pair[0]) == 0 or np.ptp(pair[1]) == 0:
        return None
    return round(correlation(*pair), 4)


def contrast_findings(images: Mapping[str, Coarse], stripped: Mapping[str, bool]) -> list[Finding]:
    """Suspicions that T1 and T2 are swapped, or one of them is another contrast.

    A contrast-enhanced T1 is looked for in stripped images only: with skull, fat is as bright. One
    whose vessels were cut off by the stripping, and without an enhancing lesion, is not found.
    """
    skewness = {name: deep_skewness(images[name]) for name in ("T1", "T2") if name in images}
    t1, t2 = skewness.get("T1"), skewness.get("T2")
    like_t2 = t1 is not None and t1 > _T1_AT_MOST
    like_t1 = t2 is not None and t2 < _T2_AT_LEAST
    found = []
    if like_t1 and like_t2:
        words = "T1 and T2 seem to be swapped: fluid is bright on T1 and dark on T2"
        found.append(CONTRAST.found(words, value=t1, limit=_T1_AT_MOST))
    elif like_t2:
        words = (
            "T1 is bright in the middle of the brain, where fluid should be dark: a T2, or "
            "contrast-enhanced? (blood looks alike)"
        )
        found.append(CONTRAST.found(words, value=t1, limit=_T1_AT_MOST))
    elif like_t1:
        words = "T2 looks like a T1 or FLAIR: fluid is dark in the middle of the brain"
        found.append(CONTRAST.found(words, value=t2, limit=_T2_AT_LEAST))
    if "T1" in images and stripped["T1"] and not like_t2:
        ratio = brightest_ratio(images["T1"])
        if ratio is not None and ratio > _BRIGHTEST_RATIO:
            words = (
                "T1 may be contrast-enhanced: its brightest voxels exceed white matter "
                f"{ratio:.1f} times (fat left by stripping, or blood, look alike)"
            )
            found.append(CONTRAST.found(words, value=ratio, limit=_BRIGHTEST_RATIO))
    return found


def _middle_of_the_brain(image: Coarse) -> FloatArray:
    """(x, y, z) bool: a ball below the top of the head, in the middle of the slices there."""
    grid, foreground = image.grid, image.foreground
    axis = int(np.abs(grid.affine[2, :3] / grid.spacing_mm).argmax())  # directions, not voxels
    rising = grid.affine[2, axis] > 0
    areas = foreground.sum(axis=tuple({0, 1, 2} - {axis}))
    if not areas.any():
        return np.zeros(grid.shape, bool)
    slices = np.flatnonzero(areas >= _TOP_SHARE * areas.max())
    depth = _DEPTH_MM / grid.spacing_mm[axis]
    level = slices[-1] - depth if rising else slices[0] + depth
    level = float(np.clip(level, 0, grid.shape[axis] - 1))
    around = [slice(None)] * 3
    around[axis] = slice(max(0, int(level) - 2), int(level) + 3)
    if not foreground[tuple(around)].any():
        return np.zeros(grid.shape, bool)
    centre = np.array(ndimage.center_of_mass(foreground[tuple(around)]))
    centre[axis] = level
    offsets = (
        ((np.arange(size) - middle) * mm) ** 2
        for size, middle, mm in zip(grid.shape, centre, grid.spacing_mm, strict=True)
    )
    x, y, z = np.ix_(*offsets)
    return x + y + z < _RADIUS_MM**2
