"""An ablation's runs are told by their plans, and only runs that differ in nothing else compare."""

from __future__ import annotations

import pytest

from dal_auto.evaluation.paper.families import (
    differences,
    family,
    is_ablation,
    left_out_of,
    loss_terms_of,
)
from dal_auto.plans import Plans


def test_what_differs_from_the_preset_is_told(dal):
    assert differences(dal()) == {}
    changed = dal(scoring__score="l1", method__settings__weight_code=0.0)
    assert differences(changed) == {"scoring.score": "l1", "method.settings.weight_code": 0.0}
    assert is_ablation(changed) and not is_ablation(dal())
    assert not is_ablation(dal(training__steps=7)), "shorter, but the method as it is"
    assert not is_ablation(dal(scoring__score="l1"), {"scoring.score"})


def test_robust_runs_of_before_it_had_filters_of_its_own_ablate_nothing(dal):
    """The plans here have the paper's filters, as such a run has."""
    now = {"scoring__min_filter_mm": 0.0, "scoring__guided_mm": 9.0}
    assert dal().method.preset == "robust"
    assert dal().scoring.guided_mm == 0
    assert differences(dal()) == differences(dal(**now)) == {}
    assert differences(dal(scoring__mean_filter_mm=5.0, **now)) == {"scoring.mean_filter_mm": 5.0}
    assert is_ablation(dal(scoring__guided_mm=9.0))


def test_a_method_that_is_not_installed_is_judged_by_its_sources(dal):
    content = dal(method__settings__weight_code=0.5).to_json()
    content["method"]["name"] = "Somebody's"
    assert differences(Plans.parse(content)) == {"method.settings.weight_code": 0.5}


def test_families_differ_in_free_keys_only(dal):
    free = {"scoring.score"}
    one, other = dal(), dal(scoring__score="ssim")
    assert family(one, free) == family(other, free)
    assert family(one, ()) != family(other, ())
    assert family(dal(training__steps=7), free) != family(one, free)


@pytest.mark.parametrize(
    ("changed", "terms"),
    [
        ({}, {"con_A", "sim_A", "con_M", "sim_M", "con_AE"}),
        ({"method__settings__weight_anatomy": 0.0}, {"con_M", "sim_M", "con_AE"}),
        (
            {
                "method__settings__weight_modality": 0.0,
                "method__settings__weight_code": 0.0,
            },
            {"con_A", "sim_A"},
        ),
    ],
)
def test_loss_terms_are_on_where_their_weight_is(dal, changed, terms):
    assert loss_terms_of(dal(**changed)) == terms


def test_listed_loss_terms_and_modules(by_hand, dal, make):
    assert loss_terms_of(by_hand.with_module(dal(), loss_terms=["con_A", "con_AE"])) == {
        "con_A",
        "con_AE",
    }
    assert loss_terms_of(make.plans_of("mean-brain")) is None
    assert left_out_of(dal()) == "nothing"
    assert left_out_of(by_hand.with_module(dal(), modality_reuse=False)) == "modality reuse"
    assert left_out_of(by_hand.with_module(dal(), edge_to_image=False, disentangling=False)) is None
