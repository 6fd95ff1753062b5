"""Label maps are told from scans by what their voxels lie beside."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dal_auto.case import FloatArray

#: Of more values an image is not judged (FreeSurfer's ``aseg`` and SynthSeg's maps have 30 to 60).
MOST_LABELS = 64
#: The typical label has 85 % of its neighbours in itself, in whole-brain maps of 1 mm (73 % in
#: 2 mm). Six scans stored in 8 to 64 values have 6 to 77 %; with each voxel doubled along all axes
#: at most 69 %, fourfold 77 to 80 %; blurred, 11 to 85 %: …
_LEAST_ALIKE = 0.8
#: … but of their neighbours that differ, 1 % or less have values that are not next to each other
#: where 75 % or more are alike; in a label map 57 % or more have.
_LEAST_FAR = 0.3


def is_label_map(array: FloatArray, values: FloatArray) -> bool:
    """Whether an image of few values shows labels: regions of one value each, beside any other.

    Each value but the commonest, the background, counts alike, be it of many voxels or of few. So a
    wide area of one value in a scan, such as padding, decides nothing.

    Parameters
    ----------
    array : (x, y, z)
    values : all that it has, ascending, at most `MOST_LABELS`
    """
    if values.size > MOST_LABELS or (values != np.round(values)).any():
        return False
    beside = _neighbours(np.searchsorted(values, array).astype(np.uint8), values.size)
    kept = np.arange(values.size) != beside.sum(axis=1).argmax()
    beside, ranks = beside[np.ix_(kept, kept)], np.flatnonzero(kept)
    pairs, own = beside.sum(axis=1), beside.diagonal()
    different = pairs.sum() - own.sum()
    if not different:
        return False
    alike = np.median(own[pairs > 0] / pairs[pairs > 0])
    far = beside[np.abs(ranks[:, None] - ranks) > 1].sum() / different
    return bool(alike >= _LEAST_ALIKE and far >= _LEAST_FAR)


def _neighbours(codes: np.ndarray, count: int) -> np.ndarray:
    """How many voxels of each value have a neighbour of each, along any axis: the matrix of
    co-occurrence (Haralick, IEEE Transactions on Systems, Man, and Cybernetics 3, 610–621, 1973).
    """
    found = np.zeros(count * count, np.int64)
    for axis in range(3):
        lines = np.moveaxis(codes, axis, 0)
        for one, other in pairwise(lines):
            pairs = one.astype(np.intp) * count + other
            found += np.bincount(pairs.ravel(), minlength=found.size)
    matrix = found.reshape(count, count)
    return matrix + matrix.T
