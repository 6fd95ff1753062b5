"""Metrics that count lesions instead of voxels: a large lesion must not hide the small ones.

Lesions and detections are 26-connected components. A lesion is found at a threshold if any of its
voxels reaches it; a detection is false if it touches no lesion.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dal_auto.scoring.pooled_curve import rounded
from dal_auto.volumes import box_around, components

#: Edges in ml of the classes of `sensitivity_by_volume`: a few voxels, an MS lesion, a metastasis,
#: a tumour.
VOLUME_EDGES_ML = (0.0, 0.1, 1.0, 10.0, np.inf)
_TOUCHING = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class LesionScore:
    """One lesion of one case.

    Parameters
    ----------
    volume_ml : > 0
    highest : largest score (rounded to float16) of its voxels; it is found at any threshold ≤ it
    brain_ml : how much of it lies inside the brain mask, to which maps are cut
    """

    volume_ml: float
    highest: float
    brain_ml: float


def score_lesions(
    score: npt.NDArray[np.floating],
    lesion_mask: npt.NDArray[np.bool_],
    brain_mask: npt.NDArray[np.bool_],
    voxel_ml: float,
) -> list[LesionScore]:
    """Volume and highest score of every lesion, in the order of their first voxels.

    Parameters
    ----------
    score, lesion_mask, brain_mask : (x, y, z); score ≥ 0
    voxel_ml : volume of a voxel in ml
    """
    labels, sizes = components(lesion_mask)
    count = len(sizes)
    if not count:
        return []
    # Of the lesions' voxels only: over the whole volume, the maximum alone would take a second.
    owner, voxels = labels[lesion_mask], rounded(score[lesion_mask]).astype(np.float32)
    highest = ndimage.maximum(voxels, owner, np.arange(1, count + 1))
    volumes = sizes * voxel_ml
    inside = np.bincount(owner[brain_mask[lesion_mask]], minlength=count + 1)[1:] * voxel_ml
    rows = zip(volumes, highest, inside, strict=True)
    return [LesionScore(*map(float, row)) for row in rows]


def false_positives(
    score: npt.NDArray[np.floating], lesion_mask: npt.NDArray[np.bool_], threshold: float
) -> int:
    """How many detections, components of ``rounded(score) >= threshold``, touch no lesion."""
    labels, sizes = components(rounded(score) >= threshold)
    box = box_around(lesion_mask, 1)
    if box is None:
        return len(sizes)
    reached = np.unique(labels[box][ndimage.binary_dilation(lesion_mask[box], _TOUCHING)])
    return len(sizes) - int((reached > 0).sum())


def sensitivity(lesions: Sequence[LesionScore], threshold: float) -> float:
    """Share of the lesions that are found at `threshold`; NaN if there are none."""
    if not lesions:
        return float("nan")
    return sum(lesion.highest >= threshold for lesion in lesions) / len(lesions)


def sensitivity_by_volume(
    lesions: Sequence[LesionScore],
    threshold: float,
    edges_ml: Sequence[float] = VOLUME_EDGES_ML,
) -> list[tuple[float, float, int, float]]:
    """For each class of volume: (from ml, to ml, number of lesions, share that is found)."""
    classes = []
    for low, high in itertools.pairwise(edges_ml):
        members = [lesion for lesion in lesions if low <= lesion.volume_ml < high]
        classes.append((low, high, len(members), sensitivity(members, threshold)))
    return classes
