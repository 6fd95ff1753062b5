"""Intervals by resampling patients: cases of one patient come and go together.

The percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13) over
whole patients, since voxels and even cases of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dal_auto.scoring.metrics import average_precision, dice_curve
from dal_auto.scoring.pooled_curve import BINS, IntArray, ScoreCounts

RESAMPLES = 1000
_LEVEL = 0.95
_BLOCK = 50  # resamples at once: bounds the memory


def average_precision_interval(
    cases: Sequence[ScoreCounts], patients: Sequence[Hashable], *, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the pooled average precision.

    Parameters
    ----------
    cases, patients : counts of each case, and whose it is

    Returns
    -------
    (low, high), NaN if fewer than two patients
    """
    lesion = sparse.csr_array(np.stack([one.lesion for one in cases]))
    normal = sparse.csr_array(np.stack([one.normal for one in cases]))

    def pooled(weights: IntArray) -> list[float]:
        sums = zip(weights @ lesion, weights @ normal, strict=True)
        return [average_precision(ScoreCounts(hits, misses)) for hits, misses in sums]

    return _interval(pooled, patients, seed)


def best_mean_dice_interval(
    cases: Sequence[ScoreCounts], patients: Sequence[Hashable], *, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the best mean Dice at one threshold, chosen anew in every resample.

    Cases without lesion voxels are left out, as in `best_mean_dice`.

    Returns
    -------
    (low, high), NaN if fewer than two patients have lesions
    """
    having = [index for index, one in enumerate(cases) if one.lesion.any()]
    curves = np.empty((len(having), BINS), np.float32)
    for row, index in enumerate(having):
        curves[row] = dice_curve(cases[index])

    def best(weights: IntArray) -> list[float]:
        means = (weights.astype(np.float32) @ curves) / weights.sum(axis=1, keepdims=True)
        return [float(value) for value in means.max(axis=1)]

    return _interval(best, [patients[index] for index in having], seed)


def _interval(
    values_of: Callable[[IntArray], list[float]], patients: Sequence[Hashable], seed: int
) -> tuple[float, float]:
    names = list(dict.fromkeys(patients))
    if len(names) < 2:
        return float("nan"), float("nan")
    owner = np.array([names.index(patient) for patient in patients])
    values = [value for block in _weights(owner, len(names), seed) for value in values_of(block)]
    finite = np.asarray(values)[np.isfinite(values)]  # a resample may hold no lesion
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _weights(owner: npt.NDArray[np.intp], patients: int, seed: int) -> Iterator[IntArray]:
    """Blocks of (resample, case): how often each case occurs."""
    rng = np.random.default_rng(seed)
    for start in range(0, RESAMPLES, _BLOCK):
        size = min(_BLOCK, RESAMPLES - start)
        drawn = rng.multinomial(patients, np.full(patients, 1 / patients), size=size)
        yield drawn[:, owner].astype(np.int64)
