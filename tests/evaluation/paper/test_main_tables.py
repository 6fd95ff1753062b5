"""Tables 3, 4 and 8 and the similarities: ours by hand, the paper's beside them, never mixed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dal_auto.evaluation.paper.formats import PaperTable
from dal_auto.evaluation.paper.main_tables import similarity_table, table_3, table_4, table_8
from dal_auto.evaluation.paper.rows import plans_by_group
from dal_auto.plans import Plans


def of(source: str, table: PaperTable) -> pd.DataFrame:
    frame = table.numbers()
    return frame[frame["source"] == source]


def trained_on(training_set: str, plans: Plans) -> Plans:
    return Plans.parse(plans.to_json() | {"training_set": training_set})


def test_nothing_scored_leaves_the_papers_rows():
    nothing = pd.DataFrame(columns=["dataset", "sequence", "run"])
    for results in (nothing, pd.DataFrame()):
        third = table_3(results, {}).numbers()
        assert third["sequence"].tolist() == ["T1", "T1", "T2", "T2", "all", "all"]
        assert set(third["source"]) == {"paper"}
        assert len(table_4(results, {}).rows) == 10 and len(table_8(results, {}).rows) == 2
        assert len(similarity_table(pd.DataFrame(), {}).rows) == 2


def test_table_3_has_the_papers_method_before_the_others(by_hand, dal, make):
    plans = [make.plans_of("AE"), dal(scoring__score="l1"), dal()]
    table = table_3(*by_hand.scored(plans, [10.0, 20.0, 30.0])).numbers()
    first = table[table["sequence"] == "T2"]
    assert list(zip(first["method"], first["source"], strict=True)) == [
        ("best of 17 others", "paper"),
        ("DAL", "paper"),
        ("DAL", "ours"),
        ("AE", "ours"),
    ]
    assert table["sequence"].tolist() == ["T1"] * 4 + ["T2"] * 4 + ["all"] * 4
    assert first["BraTS-GLI AP"].tolist()[1:] == [83.45, 60, 20]
    assert first["MSLUB DSC"].tolist()[2:] == [25, 15]


def test_table_3_means_are_of_cells_and_of_images(by_hand, dal):
    results, infos = by_hand.scored([dal()], [10.0], seeds=2, cases=(30, 10))
    table = of("ours", table_3(results, infos)).set_index("sequence")
    assert table["cells"].tolist() == [2, 2, 4] and table["seeds"].tolist() == [2, 2, 2]
    assert table.loc["T1", "MSLUB AP"] == 21 and table.loc["T2", "MSLUB AP"] == 31
    assert table["mean AP"].tolist() == [16, 26, 21]
    assert table["weighted AP"].tolist() == [13.5, 23.5, 18.5]
    assert table["MSLUB AP std"].iloc[:2].tolist() == pytest.approx([2**0.5] * 2)
    assert np.isnan(table.loc["all", "MSLUB AP"]), "a cell is of one sequence"
    one_seed = of("ours", table_3(*by_hand.scored([dal()], [10.0])))
    assert "mean AP std" not in one_seed


def test_datasets_that_the_paper_has_not_are_shown_and_count_only_alone(by_hand, dal):
    mixed = by_hand.scored([dal()], [10.0], datasets=("Mine", "MSLUB"))
    table = table_3(*mixed)
    assert table.columns[-6:-4] == ["Mine DSC", "cells"], "after the paper's"
    row = of("ours", table).set_index("sequence").loc["T1"]
    assert row["Mine AP"] == 10 and row["MSLUB AP"] == 20
    assert row["mean AP"] == 20 and row["cells"] == 1
    alone = by_hand.scored([dal()], [10.0], datasets=("Mine", "Yours"))
    row = of("ours", table_3(*alone)).set_index("sequence").loc["T1"]
    assert row["mean AP"] == 15 and row["cells"] == 2


def test_table_3_names_the_maps_that_its_cells_are_of(by_hand, dal, make):
    results, infos = by_hand.scored([dal(), make.plans_of("raw-intensity")], [10.0, 20.0])
    raw, second = results["method"] == "raw-intensity", results["sequence"] == "T2"
    results.loc[raw, "variant"] = "bright"
    results.loc[raw & second & (results["dataset"] == "MSLUB"), "variant"] = "dark"
    table = table_3(results, infos)
    maps = {(row["method"], row["sequence"]): row["maps"] for row in table.rows}
    assert maps["raw-intensity", "T1"] == "bright"
    assert maps["raw-intensity", "T2"] == maps["raw-intensity", "all"] == "bright, dark"
    assert maps["DAL", "T1"] is None


def test_table_4_holds_errors_of_methods_that_restore(by_hand, dal, make):
    plans = [make.plans_of("raw-intensity"), make.plans_of("AE"), dal()]
    results, infos = by_hand.scored(plans, [10.0, 20.0, 30.0], cases=(30, 10))
    raw = results["method"] == "raw-intensity"
    results.loc[raw, ["RE_N", "RE_A"]] = np.nan
    mslub = (results["method"] == "DAL") & (results["dataset"] == "MSLUB")
    results.loc[mslub, "RE_N"] = 7.0
    table = table_4(results, infos)
    ours = of("ours", table).set_index("method")
    assert sorted(ours.index) == ["AE", "DAL"]
    assert ours.loc["DAL", "T1 N"] == 40
    assert ours.loc["DAL", "T1 RE_N"] == (30 * 3 + 10 * 7) / 40 == 4
    assert ours.loc["DAL", "T1 RE_A"] == 6 and ours.loc["DAL", "T1 ratio"] == 1.5
    assert not [name for name in table.columns if name.startswith("all")]
    order = [(row["method"], row["source"]) for row in table.rows]
    assert order[:4] == [("AE", "ours"), ("AE", "paper"), ("DAL", "ours"), ("DAL", "paper")]
    assert of("paper", table).set_index("method").loc["DAL", "T2 N"] == 3788, "without ATLAS"


def test_table_4_has_no_ratio_where_nothing_differs(by_hand, dal):
    results, infos = by_hand.scored([dal()], [10.0])
    table = table_4(results.assign(RE_N=0.0), infos)
    (row,) = [row for row in table.rows if row["source"] == "ours"]
    assert row["T1 RE_N"] == 0 and row["T1 ratio"] is None


def test_table_8_tells_training_sets_apart(by_hand, dal, make):
    names = ("BraTS-GLI", "UPenn-GBM", "UCSF-PDGM", "MSLUB")
    plans = [dal(), trained_on("HCP", dal()), make.plans_of("AE")]
    results, infos = by_hand.scored(
        plans, [10.0, 20.0, 30.0], seeds=2, datasets=names, cases=(1, 1, 1, 1)
    )
    table = of("ours", table_8(results, infos)).set_index("trained on")
    assert list(table.index) == ["HCP", "IXI"] and set(table["method"]) == {"DAL"}
    assert table.loc["HCP", "UPenn-GBM T2 AP"] == 51
    assert table.loc["IXI", "adult average T1 AP"] == 21
    assert table.loc["IXI", "adult average T2 DSC"] == 16
    assert not [name for name in table if name.startswith("MSLUB")], "the paper has no such column"
    paper = of("paper", table_8(results, infos)).set_index("trained on")
    assert paper.loc["HCP", "BraTS-PED T2 AP"] == 56.36


def test_table_8_averages_adults_only_where_all_three_were_scored(by_hand, dal):
    (ours, *_) = table_8(*by_hand.scored([dal()], [10.0])).rows
    assert ours["BraTS-GLI T1 AP"] == 10
    assert ours["adult average T1 AP"] is None


def similarities(infos, values) -> pd.DataFrame:
    """Of each run and sequence, SSIM of the grid as given, of the brain 0.1 less."""
    rows = [
        {"run": run.identity, "sequence": sequence, "healthy cases": 2 + run.seed}
        | {"SSIM grid": value + 0.02 * run.seed, "SSIM brain": value - 0.1}
        for run, value in zip(infos, values, strict=True)
        for sequence in ("T1", "T2")
    ]
    return pd.DataFrame(rows)


def test_similarities_are_means_over_seeds_with_and_without_modality_reuse(by_hand, dal):
    without = by_hand.with_module(dal(), modality_reuse=False)
    other = by_hand.with_module(dal(), edge_to_image=False)
    _, infos = by_hand.scored([dal(), without, other], [1.0, 2.0, 3.0], seeds=2)
    table = similarity_table(similarities(infos, [0.9, 0.9, 0.8, 0.8, 0.5, 0.5]), infos)
    ours = of("ours", table).set_index("left out")
    assert sorted(ours.index) == ["modality reuse", "nothing"]
    assert ours["healthy cases"].tolist() == [3, 3]
    assert ours.loc["nothing", "T1 SSIM grid"] == pytest.approx(0.91)
    assert ours.loc["nothing", "T1 SSIM grid std"] == pytest.approx(0.02 / 2**0.5)
    assert ours.loc["modality reuse", "T2 SSIM brain"] == pytest.approx(0.7)
    paper = of("paper", table).set_index("left out")
    assert paper.loc["nothing", "T1 SSIM"] == 0.9731
    assert "0.9100 ± 0.0141" in table.text()["T1 SSIM grid"].tolist()


def test_runs_without_similarities_have_no_row(by_hand, dal, make):
    _, infos = by_hand.scored([dal(), make.plans_of("raw-intensity")], [1.0, 2.0])
    first, _ = plans_by_group(infos)
    known = {run: one for run, one in infos.items() if run.identity.group == first}
    table = similarity_table(similarities(known, [0.9]), infos)
    assert of("ours", table)["method"].tolist() == ["DAL"]
