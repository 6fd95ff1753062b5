"""Where nothing was measured: told by content, and made 0, with all that was measured above it.

Everything after reading takes 0 for background and values for magnitudes: N4 takes logarithms,
masks are what is not 0. Files hold other backgrounds: NaN (SPM), -1024 (what resampling tools fill
in), the lowest of values shifted by -32768, or 0 in the midst of z-scores. Only a level is moved,
never a scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray

#: Share of the voxels at the border that have one value, where the background is constant.
_CONSTANT_SHARE = 0.5
#: Where a brain fills its box: that many times as frequent in the image as any other value. (Noise
#: of air in whole numbers has neighbours that are almost as frequent.)
_ISOLATED = 10
#: Values this near to the background, in the image's range, may be noise of air; and the share of
#: an image that is air where there is any.
_NEAR = 0.03
_AIR_SHARE = 0.3
#: Share of voxels below the background that interpolation leaves; they are for clipping.
_RINGING_SHARE = 0.02
#: A background this far below all that was measured, in its range, is a fill and no air.
_FILL_GAP = 0.2
#: Noise of air reaches so many (robust) standard deviations.
_NOISE_SIGMAS = 8.0
#: The lowest voxel of a brain is put this far above the background, in the range of the brain.
_ABOVE = 1e-3
#: NaN is background where so much of it hangs together with the border.
_OUTSIDE_SHARE = 0.9
_EXTREMES = (0.1, 99.9)


class AmbiguousValuesError(Exception):
    """What is background cannot be told; the message says what was found."""


@dataclass(frozen=True, eq=False)
class Levels:
    """What an image holds above its background.

    Parameters
    ----------
    constant : the one value of the background; None where that is noise
    low, high : 0.1th and 99.9th percentile of the rest
    below : share of the rest below the background (below 0, where that is noise)
    """

    constant: float | None
    low: float
    high: float
    below: float


def nan_to_background(array: FloatArray) -> tuple[FloatArray, int]:
    """NaN that surrounds an image becomes 0; and how many voxels that were.

    Raises
    ------
    AmbiguousValuesError
        if NaN lies inside the image, or if there is anything infinite.
    """
    finite = np.isfinite(array)
    if finite.all():
        return array, 0
    nan = np.isnan(array)
    count, infinite = int(nan.sum()), int(nan.size - finite.sum() - nan.sum())
    labels, _ = ndimage.label(nan)
    outer = np.unique(_border(labels))
    outside = int(np.isin(labels, outer[outer > 0]).sum())
    if infinite or outside < _OUTSIDE_SHARE * count or count == nan.size:
        raise AmbiguousValuesError(
            f"{count + infinite} voxels are NaN or infinite, {count - outside + infinite} of them "
            "inside the image"
        )
    return np.where(nan, np.float32(0), array), count


def measure_levels(array: FloatArray) -> Levels:
    """Tell background from content by what lies at the border of the image."""
    constant = _constant(array)
    rest = array.ravel() if constant is None else array[array != constant]
    low, high = (float(value) for value in np.percentile(rest, _EXTREMES))
    below = float((rest < (constant or 0.0)).mean())
    return Levels(constant, low, high, below)


def _constant(array: FloatArray) -> float | None:
    """The one value that the background has; None if it has several."""
    values, counts = np.unique(_border(array), return_counts=True)
    most = float(values[counts.argmax()])
    if counts.max() >= _CONSTANT_SHARE * counts.sum():
        return most
    return most if array.min() < 0 and _stands_alone(array, most) else None


def _stands_alone(array: FloatArray, value: float) -> bool:
    """Whether no other value is nearly as frequent in the image, this one is not rare, and few
    others are near it, as noise of air would be."""
    values, counts = np.unique(array, return_counts=True)
    is_other = values != value
    others, counts = values[is_other], counts[is_other]
    number = int(counts.sum())
    count = array.size - number
    if count < _ISOLATED * counts.max() or count < _RINGING_SHARE * array.size:
        return False
    near = np.abs(others - value) < _NEAR * (values[-1] - values[0])
    return int(counts[near].sum()) < _AIR_SHARE * number


def above_background(array: FloatArray) -> tuple[FloatArray, str | None]:
    """The image with its background at 0 and its content above it; and what was done, in words.

    Parameters
    ----------
    array : (x, y, z), finite, of more than one value

    Returns
    -------
    the image, the very same where nothing had to be done: few voxels below 0 are left to clipping
    what was done, None if nothing

    Raises
    ------
    AmbiguousValuesError
        if content lies on both sides of air that is no constant.
    """
    if array.min() >= 0 and not _constant(array):
        return array, None
    found = measure_levels(array)
    if found.constant is None:
        return _above_noise(array, found)
    if found.constant == 0 and found.below <= _RINGING_SHARE:
        return array, None
    background, content = array == found.constant, array - np.float32(found.low)
    if found.below > _RINGING_SHARE:
        words = f"{found.below:.0%} of its values lie below its background of {found.constant:g}"
        return _lifted(content, background, found), f"{words}: they are moved above it"
    if found.low - found.constant <= _FILL_GAP * (found.high - found.low):
        moved = array - np.float32(found.constant)
        return moved, f"its background is {found.constant:g}: all values are moved by that"
    words = f"its background is {found.constant:g}, far below all else"
    if found.low < 0:
        return _lifted(content, background, found), f"{words}, which is moved above 0"
    return np.where(background, np.float32(0), array), f"{words}: it becomes 0"


def _lifted(content: FloatArray, background: BoolArray, found: Levels) -> FloatArray:
    """`content`, of which all but the background is above 0."""
    least = np.float32(_ABOVE * (found.high - found.low))
    return np.where(background, np.float32(0), np.maximum(content, 0) + least)


def _above_noise(array: FloatArray, found: Levels) -> tuple[FloatArray, str | None]:
    if found.below <= _RINGING_SHARE:
        return array, None
    border = _border(array)
    middle = float(np.median(border))
    sigma = 1.4826 * float(np.median(np.abs(border - middle)))
    if middle + sigma < 0:  # air itself is below 0
        words = f"air is about {middle:g}: all values are moved by {-found.low:g}"
        return np.maximum(array - np.float32(found.low), 0), words
    if -found.low <= _NOISE_SIGMAS * sigma:
        return array, None
    raise AmbiguousValuesError(
        f"{found.below:.0%} of its voxels are below 0, down to {float(array.min()):g}, on both "
        f"sides of air that is about {middle:.3g} ± {sigma:.2g}"
    )


def _border(array: np.ndarray) -> np.ndarray:
    """All voxels of the six faces; those of the edges more than once."""
    faces = (array[[0, -1]], array[:, [0, -1]], array[:, :, [0, -1]])
    return np.concatenate([face.ravel() for face in faces])
