"""Tables 5 to 7 and the curves: ours beside the paper's, each compared within its family only."""

from __future__ import annotations

import pandas as pd
import pytest

from dal_auto.evaluation.paper import ablation_tables as tables
from dal_auto.evaluation.paper.families import swept_keys
from dal_auto.evaluation.paper.formats import PaperTable


def of(source: str, table: PaperTable) -> pd.DataFrame:
    frame = table.numbers()
    return frame[frame["source"] == source]


def test_table_5_has_each_score_beside_the_papers(by_hand, dal):
    plans = [dal(), dal(scoring__score="l1"), dal(scoring__score="ssim", training__steps=9)]
    table = tables.table_5(*by_hand.scored(plans, [10.0, 20.0, 30.0]))
    found = of("ours", table).set_index("score")
    assert sorted(found.index) == ["hybrid", "l1"], "other steps are another family"
    # Of two datasets, the second 10 higher; "mean" is that of the four cells.
    assert found.loc["l1", "T1 AP"] == 25 and found.loc["l1", "T2 AP"] == 45
    assert found.loc["l1", "mean AP"] == 35 and found.loc["l1", "mean DSC"] == 15
    paper = of("paper", table).set_index("score")
    assert paper.loc["ssim", "mean AP"] == 39.66 and paper.loc["hybrid", "T2 DSC"] == 56.18
    assert table.numbers()["source"].tolist() == ["paper", "ours", "paper", "ours", "paper"]


def test_seeds_are_counted_and_have_a_deviation(by_hand, dal):
    plans = [dal(), dal(scoring__score="l1")]
    table = of("ours", tables.table_5(*by_hand.scored(plans, [10.0, 20.0], seeds=2)))
    assert table["seeds"].tolist() == [2, 2]
    assert table["T1 AP"].tolist() == [26, 16]
    assert table["T1 AP std"].tolist() == pytest.approx([2**0.5] * 2)
    assert table["run"].unique().tolist() == ["DAL, demo, robust, IXI"]


def test_table_6_holds_ours_by_dataset_and_says_what_is_not_readable(by_hand, dal):
    plans = [dal(), dal(method__settings__weight_code=0.0)]
    table = tables.table_6(*by_hand.scored(plans, [10.0, 20.0]))
    found = of("ours", table)
    assert found["dataset"].tolist() == ["BraTS-GLI", "MSLUB"] * 2
    assert found["loss terms"].unique().tolist() == [
        "con_A, sim_A, con_M, sim_M",
        "con_A, sim_A, con_M, sim_M, con_AE",
    ]
    assert found["T1 AP"].tolist() == [20, 30, 10, 20]
    paper = of("paper", table)
    assert paper["loss terms"].value_counts()["not readable"] == 6
    assert set(paper["dataset"]) == {"BraTS-GLI"}
    assert paper["loss terms"].iloc[0] == "none" and paper["T1 AP"].iloc[0] == 42.82


def test_table_7_tells_modules_left_out(by_hand, dal):
    plans = [dal(), by_hand.with_module(dal(), edge_to_image=False)]
    table = tables.table_7(*by_hand.scored(plans, [10.0, 5.0]))
    found = of("ours", table).set_index(["left out", "dataset"])
    assert found.loc[("edge-to-image", "MSLUB"), "T1 AP"] == 15
    assert found.loc[("nothing", "BraTS-GLI"), "T2 AP"] == 20
    paper = of("paper", table).set_index("left out")
    assert paper.loc["modality reuse", "T1 AP"] == 54.56


def test_the_papers_method_alone_stands_on_the_papers_dataset_only(by_hand, dal):
    for make in (tables.table_6, tables.table_7):
        alone = of("ours", make(*by_hand.scored([dal()], [10.0])))
        assert alone["dataset"].tolist() == ["BraTS-GLI"]


def test_another_method_that_compares_nothing_is_not_there(by_hand, make):
    plans = [make.plans_of("VAE"), make.plans_of("mean-brain"), make.plans_of("mean-brain")]
    changed = plans[2].override({"scoring.score": "l1"}, "user: --set")
    results, infos = by_hand.scored([*plans[:2], changed], [1.0, 2.0, 3.0])
    for table in (tables.table_5(results, infos), tables.table_7(results, infos)):
        assert of("ours", table).empty
    assert tables.sweeps_table(results, infos).rows == []


def test_the_papers_datasets_come_first_in_its_order(by_hand, dal):
    names = ("Mine", "ATLAS", "BraTS-GLI", "Alien")
    plans = [dal(), by_hand.with_module(dal(), edge_to_image=False)]
    results = by_hand.scored(plans, [10.0, 5.0], datasets=names, cases=(1, 1, 1, 1))
    found = of("ours", tables.table_7(*results))
    assert found["dataset"].tolist() == ["BraTS-GLI", "ATLAS", "Alien", "Mine"] * 2


def test_hyper_parameters_are_curves_within_a_family(by_hand, dal):
    plans = [
        dal(method__settings__margin_anatomy=0.4),
        dal(),
        dal(method__settings__margin_anatomy=0.6, training__steps=9),
    ]
    assert swept_keys(plans) == ["method.settings.margin_anatomy"]
    table = tables.sweeps_table(*by_hand.scored(plans, [20.0, 10.0, 30.0])).numbers()
    assert table["key"].unique().tolist() == ["method.settings.margin_anatomy"]
    assert table["value"].unique().tolist() == [0.2, 0.4], "rising, whatever was trained first"
    mine = table[(table["dataset"] == "MSLUB")].set_index("value")
    assert mine.loc[0.4, "T1 AP"] == 30 and mine.loc[0.2, "mean AP"] == 25


def test_where_nothing_is_scored_the_papers_rows_stand_alone(by_hand, dal):
    _, infos = by_hand.scored([dal(), dal(scoring__score="l1")], [1.0, 2.0])
    for make, rows in ((tables.table_5, 3), (tables.table_6, 8), (tables.table_7, 4)):
        for none in (infos, {}):
            table = make(pd.DataFrame(), none)
            assert set(table.numbers()["source"]) == {"paper"} and len(table.rows) == rows
            assert len(table.spreads) == rows and any("arXiv" in note for note in table.notes)
    assert tables.sweeps_table(pd.DataFrame(), infos).rows == []
