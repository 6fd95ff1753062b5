"""Exact pooled curves in constant memory: counts of scores by their float16 bit pattern.

The bit patterns of non-negative float16 numbers are ordered as the numbers are, so 31,745 counters
(0 … 65504, and inf) hold all that any threshold metric needs. Counts add up over cases, processes
and machines, and every metric of them is exact for the rounded scores.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dal_auto.errors import InputError
from dal_auto.store.atomic import replacing

IntArray = npt.NDArray[np.int64]

BINS = 31_745
_PIECE = 1 << 18
LARGEST = float(np.finfo(np.float16).max)

# What np.load and its lazy members raise for files missing, damaged or of another kind.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    zipfile.BadZipFile,
    zlib.error,
)


def scores_of_bins() -> npt.NDArray[np.float64]:
    """Score that each bin stands for: ascending from 0 to 65504, and inf as the last.

    No score is ever counted at inf; as a threshold it is the one that nothing reaches.
    """
    return np.arange(BINS, dtype=np.uint16).view(np.float16).astype(np.float64)


def rounded(score: npt.ArrayLike) -> npt.NDArray[np.float16]:
    """Round scores to float16, as they are counted; a mask is ``rounded(score) >= threshold``.

    Parameters
    ----------
    score : any shape, 0 … 65504 (after rounding); differences below 6e-8 are lost

    Raises
    ------
    ValueError
        for NaN, for negative scores, and for scores beyond 65504: clipping these would silently
        change their ranking
    """
    score = np.asarray(score)
    with np.errstate(over="ignore"):
        halves = score.astype(np.float16)
    if score.size and not score.min() >= 0:
        raise ValueError("anomaly scores must be non-negative; found NaN or a negative score")
    halves = np.abs(halves)  # -0.0 has a bit pattern of its own
    # Compared as bits, whose order is that of the numbers: float16 has no fast maximum.
    if score.size and halves.view(np.uint16).max() >= BINS - 1:
        raise ValueError(
            f"anomaly scores must stay below {LARGEST:.0f}; found {score.max()}. "
            "Divide the scores of this method by a constant, the same for all cases"
        )
    return halves


def _histogram(bits: npt.NDArray[np.uint16]) -> IntArray:
    """How often each bin occurs. In pieces: `numpy.bincount` copies its input to int64, which is
    then still in the cache when it is counted, and never as large as a volume."""
    counts = np.zeros(BINS, np.int64)
    for start in range(0, bits.size, _PIECE):
        counts += np.bincount(bits[start : start + _PIECE], minlength=BINS)
    return counts


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """How many lesion and normal voxels have each float16 score.

    Parameters
    ----------
    lesion, normal : (31745,) int64, counts ≥ 0 in the order of `scores_of_bins`
    """

    lesion: IntArray
    normal: IntArray

    def __post_init__(self) -> None:
        for counts in (self.lesion, self.normal):
            if counts.shape != (BINS,) or counts.dtype != np.int64 or counts.min() < 0:
                raise ValueError(f"counts must be {BINS} non-negative int64")
            if counts[-1]:
                raise ValueError("counts must have no score at infinity")

    @classmethod
    def empty(cls) -> ScoreCounts:
        """No voxels; the start of a sum."""
        return cls(np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))

    @classmethod
    def from_volume(
        cls,
        score: npt.NDArray[np.floating],
        lesion_mask: npt.ArrayLike,
        within: npt.ArrayLike | None = None,
    ) -> ScoreCounts:
        """Count the voxels of one case.

        Parameters
        ----------
        score : (x, y, z) float32, 0 … 65504
        lesion_mask : same shape, non-zero = lesion
        within : same shape, non-zero = counted; None counts every voxel of the grid

        Raises
        ------
        ValueError
            if shapes differ, and as `rounded`, for voxels outside `within` too
        """
        bits = rounded(score).view(np.uint16)
        lesion = np.asarray(lesion_mask, bool)
        counted = None if within is None else np.asarray(within, bool)
        for mask in (lesion, counted):
            if mask is not None and mask.shape != bits.shape:
                raise ValueError(f"score {bits.shape} and mask {mask.shape} differ in shape")
        if counted is not None:
            bits, lesion = bits[counted], lesion[counted]
        in_lesion = _histogram(bits[lesion])
        return cls(in_lesion, _histogram(bits.ravel()) - in_lesion)

    def __add__(self, other: ScoreCounts) -> ScoreCounts:
        return ScoreCounts(self.lesion + other.lesion, self.normal + other.normal)

    def save(self, path: Path) -> None:
        """Write to an .npz file, whole or not at all: the occupied bins and their counts.

        Equal counts give equal bytes: NumPy's archives carry a fixed date.
        """
        bins = np.flatnonzero(self.lesion + self.normal).astype(np.uint16)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, bins=bins, lesion=self.lesion[bins], normal=self.normal[bins])

    @classmethod
    def load(cls, path: Path) -> ScoreCounts:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            if the file is missing or is not a whole file of score counts
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                lesion, normal = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
                lesion[stored["bins"]] = stored["lesion"]
                normal[stored["bins"]] = stored["normal"]
            return cls(lesion, normal)
        except UNREADABLE as error:
            raise InputError(
                path,
                f"no whole file of score counts ({type(error).__name__}: {error})",
                "Delete it if it exists, and evaluate this case again",
            ) from error
