"""Bootstrap intervals: against scipy's, and for what must not depend on how cases are listed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dal_auto.scoring.bootstrap import average_precision_interval, best_mean_dice_interval
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
    assert with_healthy == best_mean_dice_interval(CASES, PATIENTS)
