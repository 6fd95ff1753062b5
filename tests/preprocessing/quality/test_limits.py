"""Limits: fixed ones name failures, a cohort's name what is unlike the rest, on the bad side."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.preprocessing.quality.limits import (
    FEWEST_CASES,
    FIGURES,
    LIMITS,
    OUTLIER_SIGMAS,
    cohort_limits,
    deviations,
    figure_of,
    findings,
    flags,
    in_order,
)


def cohort(count: int = 200, **columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(columns, index=[f"c{number:03d}" for number in range(count)])


def test_figures_inside_their_limits_raise_no_flag_and_others_are_named():
    fine = {name: high for name, (_, high) in LIMITS.items()}
    assert flags(fine) == []
    assert flags(fine | {"brain_ml": 500.0}) == ["brain_ml 500 outside 800 to 2200"]
    assert len(flags({"atlas_dice": 0.5, "brain_outside_share": 0.1, "unknown": 9})) == 2


def test_a_figure_of_a_sequence_has_the_limits_of_its_kind():
    assert flags({"bias_T2": 0.3, "alignment_mm_FLAIR": 2.5, "atlas_correlation_T1": -0.4}) == [
        "atlas_correlation_T1 -0.4 outside 0.2 to 1",
        "alignment_mm_FLAIR 2.5 outside 0 to 2",
        "bias_T2 0.3 outside 0 to 0.12",
    ]
    assert flags({"bad_voxels": 1.0}) == ["bad_voxels 1, not 0"]


def test_names_are_explained_with_their_sequence_and_unknown_ones_shown_as_they_are():
    assert figure_of("bias_T1_Gd").title == "T1_Gd bias"
    assert figure_of("lesion_ml").title == FIGURES["lesion_ml"].title
    assert figure_of("lesion_ml_largest").title == "lesion ml largest"
    assert figure_of("lesion_ml_largest").bad is None


def test_figures_come_in_one_order_whatever_the_order_of_the_record():
    names = ["zeta", "bias_T2", "lesion_ml", "bias_T1", "brain_ml", "atlas_dice"]
    ordered = ["brain_ml", "atlas_dice", "bias_T1", "bias_T2", "lesion_ml", "zeta"]
    assert in_order(names) == in_order(sorted(names)) == ordered
    assert in_order(reversed(FIGURES)) == list(FIGURES)


def test_the_limits_of_a_normal_cohort_lie_where_its_distribution_says():
    rng = np.random.default_rng(0)
    table = cohort(
        5000, atlas_dice=rng.normal(0.92, 0.01, 5000), bias_T1=rng.normal(0.05, 0.004, 5000)
    )
    limits = cohort_limits(table)
    assert limits["atlas_dice"][0] == pytest.approx(0.92 - OUTLIER_SIGMAS * 0.01, abs=0.003)
    assert limits["bias_T1"][1] == pytest.approx(0.05 + OUTLIER_SIGMAS * 0.004, abs=0.002)


def test_only_the_bad_side_is_limited():
    rng = np.random.default_rng(0)
    values = rng.normal(0.9, 0.01, 200)
    limits = cohort_limits(cohort(atlas_dice=values, leak_share=values, brain_ml=values * 1500))
    assert math.isfinite(limits["atlas_dice"][0])
    assert math.isinf(limits["atlas_dice"][1])
    assert math.isinf(limits["leak_share"][0])
    assert math.isfinite(limits["leak_share"][1])
    assert np.isfinite(limits["brain_ml"]).all()


def test_a_few_wrong_cases_do_not_move_the_limits_that_catch_them():
    rng = np.random.default_rng(0)
    dice = rng.normal(0.92, 0.01, 200)
    clean = cohort_limits(cohort(atlas_dice=dice))["atlas_dice"][0]
    dice[:10] = 0.82  # passes the fixed limit
    table = cohort(atlas_dice=dice)
    limits = cohort_limits(table)
    assert limits["atlas_dice"][0] == pytest.approx(clean, abs=0.005)
    found = {case: findings(row, limits) for case, row in table.to_dict("index").items()}
    assert [case for case, each in found.items() if each] == [f"c{n:03d}" for n in range(10)]
    assert found["c000"][0].kind == "cohort"
    assert found["c000"][0].text.startswith("atlas_dice 0.82 (cohort: 0.8")


def test_a_skewed_figure_is_judged_by_its_own_tail():
    values = np.random.default_rng(0).exponential(0.02, 2000)
    limit = cohort_limits(cohort(2000, leak_share=values))["leak_share"][1]
    usual = np.median(values)
    both_sides = usual + OUTLIER_SIGMAS * 1.4826 * np.median(np.abs(values - usual))
    assert 0 < (values > limit).mean() < 0.6 * (values > both_sides).mean()


def test_a_small_cohort_sets_no_limits_nor_do_figures_that_judge_nothing():
    values = np.linspace(0.8, 0.9, FEWEST_CASES - 1)
    assert cohort_limits(cohort(len(values), atlas_dice=values)) == {}
    table = cohort(lesion_ml=np.arange(200.0), bad_voxels=np.zeros(200), unknown=np.arange(200.0))
    assert cohort_limits(table) == {}


def test_missing_values_are_neither_counted_nor_judged():
    values = np.full(200, np.nan)
    values[: FEWEST_CASES - 1] = 0.9
    assert cohort_limits(cohort(atlas_dice=values)) == {}
    assert (deviations(cohort(atlas_dice=values))["atlas_dice"] == 0).all()
    assert findings({"atlas_dice": math.nan}, {"atlas_dice": (0.8, math.inf)}) == []


def test_equal_cases_are_alike_and_a_rounding_error_is_no_outlier():
    values = np.full(50, 0.95)
    values[0] -= 0.0001
    table = cohort(50, atlas_dice=values)
    limits = cohort_limits(table)
    assert findings({"atlas_dice": values[0]}, limits) == []
    assert findings({"atlas_dice": 0.90}, limits) != []


def test_what_breaks_a_fixed_limit_is_not_told_twice():
    found = findings({"atlas_dice": 0.5}, {"atlas_dice": (0.9, math.inf)})
    assert [finding.kind for finding in found] == ["limit"]


@given(
    st.lists(st.floats(0.8, 1.0), min_size=FEWEST_CASES, max_size=60), st.floats(0.8, 1.0)
)  # fmt: skip
def test_worse_is_never_judged_better(values, value):
    limits = cohort_limits(cohort(len(values), atlas_dice=np.array(values)))
    lower = findings({"atlas_dice": value - 0.01}, limits)
    assert len(lower) >= len(findings({"atlas_dice": value}, limits))


def test_deviations_count_spreads_on_the_bad_side_only():
    values = np.random.default_rng(0).normal(0.9, 0.01, 400)
    values[0], values[1] = 0.8, 1.0
    away = deviations(cohort(400, atlas_dice=values))["atlas_dice"]
    assert away["c000"] == pytest.approx(10, rel=0.15)
    assert away["c001"] == 0
    assert (away >= 0).all()
