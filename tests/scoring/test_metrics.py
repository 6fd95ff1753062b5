from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from dal_auto.scoring.metrics import (
    auroc,
    average_precision,
    best_dice,
    best_mean_dice,
    dice_at,
    dice_curve,
    false_positive_voxels,
    precision_recall,
    score_quantile,
    thinned,
    threshold_at_false_positive_rate,
)
from dal_auto.scoring.pooled_curve import BINS, ScoreCounts, scores_of_bins

# Few different scores, so that ties are common, and a few that float16 has to round.
scores = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, 65504.0]), st.floats(0, 1, width=32))
voxel = st.tuples(scores, st.booleans())
subject = st.lists(voxel, min_size=1, max_size=40).map(
    lambda voxels: tuple(np.array(column) for column in zip(*voxels, strict=True))
)
Subject = tuple[np.ndarray, np.ndarray]


def count(voxels: Subject) -> ScoreCounts:
    score, lesion = voxels
    return ScoreCounts.from_volume(score.astype(np.float32), lesion)


def halves(voxels: Subject) -> tuple[np.ndarray, np.ndarray]:
    """The scores as counted, as float64, and the labels."""
    score, lesion = voxels
    return score.astype(np.float32).astype(np.float16).astype(float), lesion


def dice(score: np.ndarray, lesion: np.ndarray, threshold: float) -> float:
    """By the definition."""
    positive = score >= threshold
    size = positive.sum() + lesion.sum()
    return 2 * (positive & lesion).sum() / size if size else 1.0


def thresholds(*subjects: Subject) -> np.ndarray:
    return np.unique(np.concatenate([halves(voxels)[0] for voxels in subjects]))


@given(voxels=subject)
def test_average_precision_is_scikit_learns(voxels):
    score, lesion = halves(voxels)
    ours = average_precision(count(voxels))
    if lesion.any():
        assert ours == pytest.approx(average_precision_score(lesion, score), abs=1e-9)
    else:
        assert math.isnan(ours)


@given(voxels=subject)
def test_auroc_is_scikit_learns(voxels):
    score, lesion = halves(voxels)
    ours = auroc(count(voxels))
    if 0 < lesion.sum() < len(lesion):
        assert ours == pytest.approx(roc_auc_score(lesion, score), abs=1e-9)
    else:
        assert math.isnan(ours)


def test_metrics_agree_with_scikit_learn_on_many_voxels():
    random = np.random.default_rng(5)
    lesion = random.random(200_000) < 0.02
    score = np.exp(random.normal(size=lesion.size) + 1.5 * lesion)
    score[random.random(lesion.size) < 0.5] = 0
    rounded, counts = halves((score, lesion))[0], count((score, lesion))
    assert average_precision(counts) == pytest.approx(
        average_precision_score(lesion, rounded), abs=1e-9
    )
    assert auroc(counts) == pytest.approx(roc_auc_score(lesion, rounded), abs=1e-9)
    value, threshold = best_dice(counts)
    assert value == pytest.approx(f1_score(lesion, rounded >= threshold), abs=1e-12)


def test_counts_of_a_whole_dataset_do_not_overflow():
    counts = ScoreCounts.empty()
    counts.normal[[0, 900]] = 10**13, 10**13
    counts.lesion[[900, 901]] = 10**12, 10**12
    assert auroc(counts) == pytest.approx(0.5 * (0.75 + 1))
    assert average_precision(counts) == pytest.approx(0.5 * 1 + 0.5 * 2 / 12)
    assert best_dice(counts) == (pytest.approx(2 / 3), scores_of_bins()[901])


def test_perfect_and_all_positive_scores_have_an_average_precision_of_one():
    for lesion in ([False, True, True], [True, True, True]):
        assert average_precision(count((np.array([0.1, 0.4, 0.9]), np.array(lesion)))) == 1


@given(voxels=subject, threshold=st.one_of(scores, st.sampled_from([-1.0, 0.3, math.inf])))
def test_dice_at_a_threshold_is_the_definition(voxels, threshold):
    assert dice_at(count(voxels), threshold) == pytest.approx(dice(*halves(voxels), threshold))


@given(voxels=subject)
def test_the_curve_is_dice_at_every_bin(voxels):
    curve = dice_curve(count(voxels))
    assert curve.shape == (BINS,)
    for index in (0, 1, 13_000, 15_360, BINS - 2, BINS - 1):
        assert curve[index] == pytest.approx(dice(*halves(voxels), scores_of_bins()[index]))


def test_nothing_to_find_and_nothing_found_is_a_perfect_dice():
    healthy = count((np.array([0.1, 0.2]), np.array([False, False])))
    assert dice_at(healthy, 0.5) == 1
    assert dice_at(healthy, 0.15) == 0
    assert dice_at(ScoreCounts.empty(), 0.5) == 1


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        dice_at(ScoreCounts.empty(), math.nan)


@given(voxels=subject)
def test_best_dice_is_the_best_of_all_thresholds(voxels):
    value, threshold = best_dice(count(voxels))
    if not voxels[1].any():
        assert math.isnan(value)
        assert math.isnan(threshold)
        return
    assert value == pytest.approx(max(dice(*halves(voxels), t) for t in thresholds(voxels)))
    assert value == pytest.approx(dice(*halves(voxels), threshold))
    assert threshold in thresholds(voxels)


@settings(max_examples=60)
@given(subjects=st.lists(subject, min_size=1, max_size=5))
def test_best_mean_dice_is_the_best_single_threshold_for_subjects_with_lesions(subjects):
    value, threshold = best_mean_dice([count(voxels) for voxels in subjects])
    diseased = [voxels for voxels in subjects if voxels[1].any()]
    if not diseased:
        assert math.isnan(value)
        assert math.isnan(threshold)
        return

    def mean_dice(at: float) -> float:
        return float(np.mean([dice(*halves(voxels), at) for voxels in diseased]))

    assert value == pytest.approx(max(mean_dice(t) for t in thresholds(*diseased)))
    assert value == pytest.approx(mean_dice(threshold))
    assert threshold in thresholds(*diseased)


def test_a_large_lesion_does_not_outweigh_a_small_one_in_the_mean():
    large = (np.repeat([0.2, 0.1], [90, 10]), np.repeat([True, False], [90, 10]))
    small = (np.array([0.9, 0.2, 0.2, 0.2]), np.array([True, False, False, False]))
    pooled = count(large) + count(small)
    assert best_dice(pooled)[1] == np.float16(0.2)
    # At 0.2: (1 + 2/5) / 2 = 0.7. At 0.9: (0 + 1) / 2.
    assert best_mean_dice([count(large), count(small)]) == (pytest.approx(0.7), np.float16(0.2))
    assert best_mean_dice([count(large), count(small), count(small), count(small)]) == (
        pytest.approx(0.75),
        np.float16(0.9),
    )


@given(voxels=subject, rate=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.005, 0.5, 1.0])))
def test_practical_threshold_is_the_smallest_with_few_enough_false_positives(voxels, rate):
    score, lesion = halves(voxels)
    normal = score[~lesion]
    if not normal.size:
        return
    threshold = threshold_at_false_positive_rate(count(voxels), rate)
    bins = scores_of_bins()
    index = int(np.searchsorted(bins, threshold))
    assert bins[index] == threshold
    assert np.mean(normal >= threshold) <= rate
    assert index == 0 or np.mean(normal >= bins[index - 1]) > rate


def test_practical_threshold_is_infinite_where_the_largest_score_is_too_common():
    everywhere = count((np.full(4, 65504.0), np.zeros(4, bool)))
    assert threshold_at_false_positive_rate(everywhere, 0.5) == math.inf


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_rates_that_are_none_are_refused(rate):
    with pytest.raises(ValueError, match="false-positive rate"):
        threshold_at_false_positive_rate(count((np.zeros(4), np.zeros(4, bool))), rate)


def test_a_practical_threshold_needs_normal_voxels():
    with pytest.raises(ValueError, match="in 0 voxels"):
        threshold_at_false_positive_rate(ScoreCounts.empty(), 0.1)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.999, 1.0])
def test_the_quantile_is_numpys(share):
    rng = np.random.default_rng(4)
    score = rng.exponential(0.2, (20, 21, 22)).astype(np.float16)
    counts = ScoreCounts.from_volume(score.astype(np.float32), rng.random(score.shape) < 0.3)
    expected = np.quantile(score.astype(np.float64), share, method="inverted_cdf")
    assert score_quantile(counts, share) == (0.0 if share == 0 else expected)
    assert np.isnan(score_quantile(ScoreCounts.empty(), share))


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(5)
    lesion = rng.random((60, 60, 60)) < 0.02
    score = (rng.exponential(0.1, lesion.shape) + 0.1 * lesion).astype(np.float32)
    counts = ScoreCounts.from_volume(score, lesion)
    recall, precision = precision_recall(counts)
    few_recall, few_precision = thinned(recall, precision)
    assert few_recall.size <= 1001 < recall.size
    assert (few_recall[-1], few_precision[-1]) == (recall[-1], precision[-1])
    area = np.sum(np.diff(few_recall, prepend=0) * few_precision)
    assert area == pytest.approx(average_precision(counts), abs=1e-3)
    assert thinned(np.empty(0), np.empty(0))[0].size == 0


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.30001, 70_000.0, np.inf])
def test_false_positive_voxels_are_the_normal_ones_that_are_called(threshold):
    rng = np.random.default_rng(6)
    score, lesion = rng.random((9, 9, 9)).astype(np.float16), rng.random((9, 9, 9)) < 0.2
    counts = ScoreCounts.from_volume(score.astype(np.float32), lesion)
    expected = ((score.astype(float) >= threshold) & ~lesion).sum()
    assert false_positive_voxels(counts, threshold) == expected
    with pytest.raises(ValueError, match="NaN"):
        false_positive_voxels(counts, float("nan"))
