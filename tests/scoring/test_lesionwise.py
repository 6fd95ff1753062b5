"""Lesion-wise metrics, on blocks whose counts are plain to see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.measure import label, regionprops

from dal_auto.scoring.lesionwise import (
    LesionScore,
    false_positives,
    score_lesions,
    sensitivity,
    sensitivity_by_volume,
)


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Two lesions (8 voxels with a peak of 3, 1 voxel at 0.5), and two false detections."""
    score, mask = np.zeros((12, 12, 12), np.float32), np.zeros((12, 12, 12), bool)
    mask[1:3, 1:3, 1:3] = True
    score[2, 2, 2] = 3
    mask[8, 8, 8] = True
    score[8, 8, 8] = 0.5
    score[1:3, 9:11, 5] = 2
    score[10, 1, 10] = 1
    return score, mask


def test_each_lesion_has_its_volume_and_highest_score(scene):
    score, mask = scene
    brain = np.zeros_like(mask)
    brain[1, :8] = True
    assert score_lesions(score, mask, brain, voxel_ml=0.001) == [
        LesionScore(0.008, 3.0, brain_ml=0.004),
        LesionScore(0.001, 0.5, brain_ml=0.0),
    ]


def test_lesions_that_touch_at_a_corner_are_one():
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert [one.volume_ml for one in score_lesions(mask * 1.0, mask, mask, 1.0)] == [2.0]


def test_components_agree_with_scikit_image():
    rng = np.random.default_rng(0)
    mask, score = rng.random((20, 20, 20)) > 0.95, rng.random((20, 20, 20))
    regions = regionprops(label(mask, connectivity=3), intensity_image=score)
    expected = sorted((r.area, float(np.float16(r.intensity_max))) for r in regions)
    found = sorted((one.volume_ml, one.highest) for one in score_lesions(score, mask, mask, 1.0))
    assert found == expected


@pytest.mark.parametrize(("threshold", "number"), [(0.4, 2), (1.5, 1), (2.0, 1), (2.5, 0)])
def test_detections_away_from_any_lesion_are_false(scene, threshold, number):
    assert false_positives(*scene, threshold) == number


def test_a_detection_that_touches_a_lesion_is_not_false(scene):
    score, mask = scene
    score[3, 3, 3] = 2.0  # diagonal neighbour of the first lesion, not inside it
    score[2, 2, 2] = 0
    assert false_positives(score, mask, 1.5) == 1


def test_without_a_lesion_all_detections_are_false(scene):
    score, mask = scene
    assert false_positives(score, mask & False, 0.4) == 4


@pytest.mark.parametrize(("threshold", "share"), [(0.5, 1.0), (0.6, 0.5), (3.0, 0.5), (3.1, 0.0)])
def test_sensitivity_counts_lesions(scene, threshold, share):
    score, mask = scene
    assert sensitivity(score_lesions(score, mask, mask, 0.001), threshold) == share


def test_sensitivity_by_volume_leaves_no_lesion_out():
    lesions = [LesionScore(ml, score, ml) for ml, score in [(0.05, 1), (0.1, 3), (5, 1), (500, 3)]]
    classes = sensitivity_by_volume(lesions, 2.0)
    assert [number for _, _, number, _ in classes] == [1, 1, 1, 1]
    assert [share for _, _, _, share in classes] == [0, 1, 0, 1]


def test_no_lesion_has_no_sensitivity():
    assert math.isnan(sensitivity([], 1.0))
    nothing = np.zeros((3, 3, 3), bool)
    assert score_lesions(np.ones((3, 3, 3)), nothing, nothing, 1.0) == []


@pytest.mark.parametrize("seed", range(5))
def test_false_detections_agree_with_scikit_image(seed):
    """Up to the borders, where lesions have no neighbours on one side."""
    rng = np.random.default_rng(seed)
    score, mask = rng.random((9, 8, 7)), rng.random((9, 8, 7)) > 0.97
    regions = regionprops(label(score >= 0.9, connectivity=3))
    lesions = np.argwhere(mask)
    false = sum(
        not any((np.abs(voxel - lesions).max(axis=1) <= 1).any() for voxel in region.coords)
        for region in regions
    )
    assert false_positives(score, mask, 0.9) == false
