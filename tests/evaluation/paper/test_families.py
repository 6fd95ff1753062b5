"""An ablation's runs are told by their plans, and only runs that differ in nothing else compare."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from dal_auto.evaluation.paper import ablation_tables as tables
from dal_auto.evaluation.paper.families import (
    differences,
    family,
    is_ablation,
    left_out_of,
    loss_terms_of,
    swept_keys,
)
from dal_auto.evaluation.paper.rows import labels
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.plans import Plans
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run, run_of


@pytest.fixture
def dal(make):
    """Plans of DAL with some keys set."""
    return lambda **changed: make.plans_of("DAL", **changed)


def with_module(plans: Plans, **settings: object) -> Plans:
    """Settings that DAL may come to have; plans are not validated by the method here."""
    content = plans.to_json()
    content["method"]["settings"] |= settings
    return Plans.parse(content)


def test_what_differs_from_the_preset_is_told(dal):
    assert differences(dal()) == {}
    changed = dal(scoring__score="l1", method__settings__weight_code=0.0)
    assert differences(changed) == {"scoring.score": "l1", "method.settings.weight_code": 0.0}
    assert is_ablation(changed) and not is_ablation(dal())
    assert not is_ablation(dal(training__steps=7)), "shorter, but the method as it is"
    assert not is_ablation(dal(scoring__score="l1"), {"scoring.score"})


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


def test_listed_loss_terms_and_modules(dal, make):
    assert loss_terms_of(with_module(dal(), loss_terms=["con_A", "con_AE"])) == {"con_A", "con_AE"}
    assert loss_terms_of(make.plans_of("mean-brain")) is None
    assert left_out_of(dal()) == "nothing"
    assert left_out_of(with_module(dal(), modality_reuse=False)) == "modality reuse"
    assert left_out_of(with_module(dal(), edge_to_image=False, disentangling=False)) is None


def scored(plans: list[Plans], values: list[float]) -> tuple[pd.DataFrame, dict[Run, RunInfo]]:
    """Results of these runs on BraTS-GLI and MSLUB: AP of T1 as given, of T2 twice that."""
    infos, rows = {}, []
    for number, (one, value) in enumerate(zip(plans, values, strict=True)):
        run = run_of(one, {"number": number}, 0)
        infos[run] = RunInfo(one, {}, "", frozenset(), "")
        for dataset in ("BraTS-GLI", "MSLUB"):
            for factor, sequence in enumerate(("T1", "T2"), start=1):
                metrics = {"AP": value * factor, "DSC": value / 2}
                keys = {"dataset": dataset, "sequence": sequence, "run": run.identity, "seed": 0}
                rows.append(keys | {"method": one.method.name, "cases": 5} | metrics)
    return pd.DataFrame(rows), infos


def ours(table) -> pd.DataFrame:
    frame = table.numbers()
    return frame[frame["source"] == "ours"]


def test_table_5_has_each_score_beside_the_papers(dal):
    plans = [dal(), dal(scoring__score="l1"), dal(scoring__score="ssim", training__steps=9)]
    table = tables.table_5(*scored(plans, [10.0, 20.0, 30.0]))
    found = ours(table).set_index("score")
    assert sorted(found.index) == ["hybrid", "l1"], "other steps are another family"
    assert found.loc["l1", "T2 AP"] == 40 and found.loc["l1", "mean AP"] == 30
    paper = table.numbers().set_index(["score", "source"])
    assert paper.loc[("ssim", "paper"), "mean AP"] == 39.66


def test_table_6_holds_ours_by_dataset_and_says_what_is_not_readable(dal):
    plans = [dal(), dal(method__settings__weight_code=0.0)]
    table = tables.table_6(*scored(plans, [10.0, 20.0]))
    found = ours(table)
    assert found["dataset"].tolist() == ["BraTS-GLI", "MSLUB"] * 2
    assert found["loss terms"].unique().tolist() == [
        "con_A, sim_A, con_M, sim_M",
        "con_A, sim_A, con_M, sim_M, con_AE",
    ]
    paper = table.numbers()[table.numbers()["source"] == "paper"]
    assert paper["loss terms"].value_counts()["not readable"] == 6
    assert set(paper["dataset"]) == {"BraTS-GLI"}


def test_table_7_tells_modules_left_out(dal):
    plans = [dal(), with_module(dal(), edge_to_image=False)]
    table = tables.table_7(*scored(plans, [10.0, 5.0]))
    found = ours(table).set_index(["left out", "dataset"])
    assert found.loc[("edge-to-image", "MSLUB"), "T1 AP"] == 5
    alone = ours(tables.table_7(*scored([dal()], [10.0])))
    assert alone["dataset"].tolist() == ["BraTS-GLI"], "with nothing to compare, the paper's only"


def test_hyper_parameters_are_curves_within_a_family(dal):
    plans = [
        dal(),
        dal(method__settings__margin_anatomy=0.4),
        dal(method__settings__margin_anatomy=0.6, training__steps=9),
    ]
    assert swept_keys(plans) == ["method.settings.margin_anatomy"]
    table = tables.sweeps_table(*scored(plans, [10.0, 20.0, 30.0])).numbers()
    assert table["value"].unique().tolist() == [0.2, 0.4]
    mine = table[(table["dataset"] == "MSLUB")].set_index("value")
    assert mine.loc[0.4, "T1 AP"] == 20


def test_labels_are_as_short_as_tells_runs_apart(dal, make):
    one = RunGroup("IXI", "DAL", "demo", "robust")
    other, elsewhere = replace(one, variant="b"), replace(one, training_set="HCP")
    both = {one: dal(), other: make.plans_of("mean-brain")}
    assert list(labels(both).values()) == ["DAL", "mean-brain"]
    changed = {one: dal(), other: dal(scoring__score="l1")}
    assert list(labels(changed).values()) == ["DAL", "DAL (score=l1)"]
    assert "trained on HCP" in labels({one: dal(), elsewhere: dal()})[elsewhere]
