"""Bootstrap intervals: against scipy's, and for what must not depend on how cases are listed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dal_auto.scoring import bootstrap, case_counts
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.metrics import average_precision, best_mean_dice
from dal_auto.scoring.pooled_curve import ScoreCounts


def cohort(number: int, seed: int = 0) -> list[ScoreCounts]:
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(number):
        lesion = rng.random((10, 10, 10)) < rng.uniform(0.02, 0.3)
        score = rng.random(lesion.shape) + rng.uniform(0, 1) * lesion
        cases.append(ScoreCounts.from_volume(score.astype(np.float32), lesion))
    return cases


CASES = cohort(25)
PATIENTS = list(range(25))


def resampled(cases, patients, **seed):
    return bootstrap.resampled_average_precision(CaseCounts.pack(cases), patients, **seed)


def average_precision_interval(cases, patients, **seed):
    return bootstrap.interval(resampled(cases, patients, **seed))


def best_mean_dice_interval(cases, patients, **seed):
    return bootstrap.best_mean_dice_interval(CaseCounts.pack(cases), patients, **seed)


def drawn(cases: list[ScoreCounts], seed: int) -> list[list[ScoreCounts]]:
    """The resamples, in plain words: every case as often as it was drawn."""
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(cases), [1 / len(cases)] * len(cases), size=bootstrap.RESAMPLES)
    return [[one for one, n in zip(cases, row, strict=True) for _ in range(n)] for row in times]


def middle(values: list[float]) -> tuple[float, float]:
    return tuple(np.quantile(values, [0.025, 0.975]))


def test_intervals_are_those_of_the_metrics_of_each_resample(monkeypatch):
    """And blocks of bins make no difference."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 60)
    monkeypatch.setattr(case_counts, "_BLOCK", 7)
    samples = drawn(CASES[:8], seed=3)
    pooled = [sum(sample, start=ScoreCounts.empty()) for sample in samples]
    assert average_precision_interval(CASES[:8], PATIENTS[:8], seed=3) == pytest.approx(
        middle([average_precision(one) for one in pooled]), abs=1e-12
    )
    assert best_mean_dice_interval(CASES[:8], PATIENTS[:8], seed=3) == pytest.approx(
        middle([best_mean_dice(sample)[0] for sample in samples]), abs=1e-12
    )


def pooled_ap(indices: np.ndarray) -> float:
    return average_precision(sum((CASES[i] for i in indices), start=ScoreCounts.empty()))


def test_the_interval_of_ap_is_scipys():
    theirs = stats.bootstrap(
        (np.arange(25),), pooled_ap, n_resamples=1000, vectorized=False, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    low, high = average_precision_interval(CASES, PATIENTS)
    assert (low, high) == pytest.approx(
        (theirs.low, theirs.high), abs=0.1 * (theirs.high - theirs.low)
    )


@pytest.mark.parametrize(
    ("interval", "value"),
    [
        (average_precision_interval, lambda cases: pooled_ap(np.arange(len(cases)))),
        (best_mean_dice_interval, lambda cases: best_mean_dice(cases)[0]),
    ],
)
def test_the_interval_holds_the_value_and_repeats(interval, value):
    low, high = interval(CASES, PATIENTS)
    assert low < value(CASES) < high
    assert interval(CASES, PATIENTS) == (low, high)
    assert interval(CASES, PATIENTS, seed=1) != (low, high)


@pytest.mark.parametrize("interval", [average_precision_interval, best_mean_dice_interval])
def test_cases_of_one_patient_stay_together(interval):
    """Each case twice under one patient is the cohort once: the same values are drawn."""
    twice = interval([*CASES, *CASES], [*PATIENTS, *PATIENTS])
    assert twice == pytest.approx(interval(CASES, PATIENTS))
    apart = interval([*CASES, *CASES], list(range(50)))
    assert apart[1] - apart[0] < 0.9 * (twice[1] - twice[0])


@pytest.mark.parametrize("interval", [average_precision_interval, best_mean_dice_interval])
def test_one_patient_has_no_interval(interval):
    assert all(map(math.isnan, interval(CASES[:2], ["a", "a"])))


def test_cases_without_lesions_do_not_enter_the_mean_dice():
    healthy = ScoreCounts.from_volume(np.ones((5, 5, 5), np.float32), np.zeros((5, 5, 5), bool))
    with_healthy = best_mean_dice_interval([*CASES, healthy], [*PATIENTS, "healthy"])
    assert with_healthy == pytest.approx(best_mean_dice_interval(CASES, PATIENTS), abs=1e-12)


def test_resamples_without_a_lesion_are_left_out_of_ap():
    healthy = ScoreCounts.from_volume(np.ones((5, 5, 5), np.float32), np.zeros((5, 5, 5), bool))
    low, high = average_precision_interval([healthy, CASES[0]], ["a", "b"])
    assert 0 < low <= high <= 1
    assert all(map(math.isnan, average_precision_interval([healthy, healthy], ["a", "b"])))


def rescored(seed: int, gain: float) -> list[ScoreCounts]:
    """The lesions of `CASES` under the same scores, raised by `gain` within them."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in CASES:
        lesion = rng.random((10, 10, 10)) < rng.uniform(0.02, 0.3)
        score = rng.random(lesion.shape) + rng.uniform(0, 1) * lesion + gain * lesion
        cases.append(ScoreCounts.from_volume(score.astype(np.float32), lesion))
    return cases


def test_resamples_of_the_same_cases_are_paired(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 60)
    better = rescored(0, 0.1)[:8]
    for cases in (better, CASES[:8]):
        expected = [
            average_precision(sum(sample, start=ScoreCounts.empty()))
            for sample in drawn(cases, seed=3)
        ]
        np.testing.assert_allclose(resampled(cases, PATIENTS[:8], seed=3), expected, atol=1e-12)


def test_pairs_resolve_what_two_intervals_do_not():
    better = rescored(0, 0.1)
    apart = resampled(better, PATIENTS) - resampled(CASES, PATIENTS)
    low, high = bootstrap.interval(apart)
    assert 0 < low < high
    assert (
        average_precision_interval(better, PATIENTS)[0]
        < average_precision_interval(CASES, PATIENTS)[1]
    ), "the two intervals overlap, for this to show anything"
