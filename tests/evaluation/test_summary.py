"""The report of few records: what is damaged or missing is listed, and takes nothing with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from dal_auto import paths
from dal_auto.datasets.overlap import Overlap, SharedScan
from dal_auto.evaluation import datasets as presence
from dal_auto.evaluation import keeping
from dal_auto.evaluation import summary as summary_module
from dal_auto.evaluation.pictures import drawing
from dal_auto.evaluation.scores import HELD_OUT, Records, evaluated_datasets, read_scored
from dal_auto.evaluation.summary import Summary, write_summary
from dal_auto.methods.checkpoint import load_checkpoint, save_checkpoint
from dal_auto.methods.registry import method_names
from dal_auto.store.runs import Run


@pytest.fixture
def report(home: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """Write the report of some runs; figures on request, since they take the most time."""
    monkeypatch.setattr(keeping, "_draw", lambda *_: None)

    def write(*runs: Run, figures: bool = False, **options) -> Summary:
        records = read_scored(runs, evaluated_datasets(runs))
        with monkeypatch.context() as patch:
            if not figures:
                patch.setattr(summary_module, "draw_all", lambda *_: [])
            return write_summary(home / "report", records, **options)

    return write


@pytest.fixture
def scored(home, make, monkeypatch) -> Run:
    """One run of DAL, scored on MSLUB and on held-out patients."""
    monkeypatch.setattr(keeping, "_draw", lambda *_: None)
    run = make.train("DAL", 0)
    make.score(run, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(4)])
    make.score(run, HELD_OUT, [make.drawn_case("IXI", 0, healthy=True)])
    return run


def test_nothing_scored_is_a_report_that_says_so(home):
    summary = write_summary(home / "report", Records([], [], ["run X: it failed"]))
    page = summary.page.read_text(encoding="utf-8")
    assert "Nothing has been scored yet." in page and "run X: it failed" in page
    assert summary.failures == ["run X: it failed"]
    assert [path.name for path in sorted((home / "report").glob("*.csv"))] == [
        "absent-datasets.csv"
    ]


def test_damaged_counts_cost_one_case_and_are_told_every_time(scored, report):
    path = scored.folder / "evaluation" / "MSLUB" / "MSLUB-1_T1_brain.npz"
    path.write_bytes(path.read_bytes()[:40])
    for _ in range(2):
        summary = report(scored)
        results = summary.tables["results"].set_index("sequence")
        assert results["cases"].to_dict() == {"T1": 3, "T2": 4}
        (failure,) = summary.failures
        assert "MSLUB-1" in failure and "no whole file of score counts" in failure
        assert "no whole file of score counts" in summary.page.read_text(encoding="utf-8")


def test_kept_results_give_the_same_tables_as_counts(scored, report, home):
    first = report(scored).tables
    kept = list((scored.folder / "evaluation" / "MSLUB" / "results").iterdir())
    assert sorted(path.name for path in kept) == ["T1.json", "T2.json"]
    for path in (scored.folder / "evaluation").rglob("*.npz"):
        if "slices" not in path.name and "vectors" not in path.name:
            path.unlink()
    second = report(scored)
    assert second.failures == []
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second.tables[name])


def test_an_unreadable_checkpoint_costs_its_run_only(scored, report, make):
    other = make.train("mean-brain", 0)
    make.score(other, "MSLUB", [make.drawn_case("MSLUB", 0)])
    other.checkpoint_path.write_bytes(b"spoilt")
    summary = report(scored, other)
    assert summary.tables["results"]["method"].tolist() == ["DAL", "DAL"]
    assert any("mean-brain" in line and "another checkpoint" in line for line in summary.failures)


def test_a_figure_or_table_that_fails_is_listed(scored, report, monkeypatch):
    monkeypatch.setattr(drawing, "box_figure", lambda *_: 1 / 0)
    monkeypatch.setattr("dal_auto.evaluation.paper.main_tables.table_8", lambda *_: 1 / 0)
    summary = report(scored, with_paper_tables=True, figures=True)
    assert summary.failures == [
        "Table 8: ZeroDivisionError: division by zero",
        "figure “box plots”: ZeroDivisionError: division by zero",
    ]
    folder = summary.page.parent
    assert (folder / "figures" / "precision-recall_MSLUB_T1.svg").is_file()
    assert not (folder / "figures" / "boxes_T1.svg").exists()
    assert (folder / "paper-tables" / "table7.csv").is_file()


def test_figures_and_tables_of_an_earlier_report_do_not_stay(scored, report, make):
    case = make.drawn_case("ATLAS", 0)
    make.score(scored, "ATLAS", [case])
    folder = report(scored, with_paper_tables=True, figures=True).page.parent
    assert (folder / "figures" / "precision-recall_ATLAS_T1.png").is_file()
    for path in (scored.folder / "evaluation" / "ATLAS").glob("*.json"):
        path.unlink()
    before = (folder / "paper-tables" / "table3.csv").read_text()
    report(scored)
    assert not list((folder / "figures").glob("*ATLAS*"))
    assert "ATLAS" not in (folder / "results.csv").read_text()
    assert (folder / "paper-tables" / "table3.csv").read_text() != before


def test_selection_cases_are_left_out_beside_all(make, report, monkeypatch):
    """Where a checkpoint names the cases that chose it: the paper's 1,251 and 1,187."""
    run = make.train(
        "DAL",
        0,
        progress={"selection_cases": ["MSLUB-1", "MSLUB-2", "of others"]},
        training__select_on="MSLUB",
    )
    cases = [make.drawn_case("MSLUB", n) for n in range(4)]
    make.score(run, "MSLUB", cases)
    summary = report(run)
    subsets = summary.tables["subsets"].set_index(["sequence", "cases are"])
    assert subsets.loc[("T1", "all cases"), "cases"] == 4
    part = subsets.loc[("T1", "without selection cases")]
    assert part["cases"] == 2
    scores, lesions = [], []
    for case in (cases[0], cases[3]):
        scores.extend(make.drawn_prediction(run, case, "T1").anomaly[""].ravel())
        lesions.extend(case.lesion_mask.ravel())
    assert part["AP"] == pytest.approx(100 * average_precision_score(lesions, scores))
    page = summary.page.read_text(encoding="utf-8")
    assert "DAL on MSLUB T1: AP " in page and "on all cases (4); AP " in page
    assert f"AP {part['AP']:.1f}, DSC {part['DSC']:.1f} without selection cases (2)." in page


def test_without_named_selection_cases_nothing_is_said(scored, report):
    assert report(scored).tables["subsets"].empty


def test_shared_cases_are_left_out_beside_all_where_they_are_known(make, report, monkeypatch):
    run = make.train("DAL", 0)
    for dataset in ("UPenn-GBM", "BraTS-GLI"):
        make.score(run, dataset, [make.drawn_case(dataset, n) for n in range(3)])
    scans = (SharedScan("UPenn-GBM", "UPenn-GBM-1", "BraTS2021_00001", "crosswalk"),)
    monkeypatch.setattr(presence, "find_overlap", lambda _: Overlap(scans))
    subsets = report(run).tables["subsets"]
    assert set(subsets["dataset"]) == {"UPenn-GBM"}
    counts = subsets.set_index(["sequence", "cases are"])["cases"]
    assert counts["T2", "all cases"] == 3 and counts["T2", "without shared cases"] == 2


def test_an_overlap_that_cannot_be_told_is_a_remark(make, report):
    run = make.train("DAL", 0)
    make.score(run, "UPenn-GBM", [make.drawn_case("UPenn-GBM", 0)])
    summary = report(run)
    assert summary.failures == [] and summary.tables["subsets"].empty
    assert "cannot be told from what is on disk" in summary.page.read_text(encoding="utf-8")


def test_a_run_without_a_threshold_has_no_lesionwise_figures(make, report):
    run = make.train("DAL", 0)
    save_checkpoint(
        run.checkpoint_path, replace(load_checkpoint(run.checkpoint_path), thresholds={})
    )
    make.score(run, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(2)])
    summary = report(run)
    row = summary.tables["results"].iloc[0]
    assert (
        row[["practical threshold", "lesions found", "FP per case", "DSC practical"]].isna().all()
    )
    assert row["lesions"] > 0 and row["AP"] > 0
    assert summary.tables["lesion-sizes"].empty and summary.failures == []


def test_verdicts_compare_with_the_best_trivial_baseline(scored, report, make):
    baseline = make.train("mean-brain", 0)
    make.score(baseline, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(4)])
    page = report(scored, baseline).page.read_text(encoding="utf-8")
    verdict = "DAL (seed 0) is higher than mean-brain, the best trivial baseline, on MSLUB T1"
    few = "but not resolved: that takes 6 patients or more"
    assert f"{verdict}, in 4 patients, {few}. AP " in page
    low, high = re.search(
        r"on MSLUB T1, .*? \(difference, 95 % by patient: (\S+) to (\S+?)\)", page
    ).groups()
    assert 0 < float(low) < float(high)
    # The second time from the results that were kept.
    assert report(scored, baseline).page.read_text(encoding="utf-8") == page


def test_ablations_are_in_their_tables_and_not_in_table_3(scored, report, make):
    ablated = make.train("DAL", 0, scoring__score="l1")
    make.score(ablated, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(4)])
    folder = report(scored, ablated, with_paper_tables=True).page.parent
    folder = folder / "paper-tables"
    table_5 = pd.read_csv(folder / "table5.csv")
    assert table_5[table_5["source"] == "ours"]["score"].tolist() == ["l1", "hybrid"]
    table_3 = pd.read_csv(folder / "table3.csv")
    assert table_3[table_3["source"] == "ours"]["method"].unique().tolist() == ["DAL"]
    swept = make.train("DAL", 0, scoring__mean_filter_mm=5.0)
    make.score(swept, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(4)])
    folder = report(scored, swept, with_paper_tables=True, figures=True).page.parent
    sweep = pd.read_csv(folder / "paper-tables" / "hyper-parameters.csv")
    assert sweep["key"].unique().tolist() == ["scoring.mean_filter_mm"]
    assert sweep["value"].tolist() == [5, 9]
    assert (folder / "figures" / "hyper-parameter_scoring.mean_filter_mm.svg").is_file()


def test_table_3_has_a_row_for_every_registered_method_beside_the_papers(home, report, make):
    runs = [make.train(name, 0) for name in method_names()]
    for run in runs:
        make.score(run, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(2)])
    folder = report(*runs, with_paper_tables=True).page.parent
    table = pd.read_csv(folder / "paper-tables" / "table3.csv")
    for sequence in ("T1", "T2", "all"):
        rows = table[table["sequence"] == sequence]
        assert sorted(rows[rows["source"] == "ours"]["method"]) == sorted(method_names())
        assert rows[rows["source"] == "paper"]["method"].tolist() == ["best of 17 others", "DAL"]
        assert rows["mean AP"].notna().all()


def test_every_variant_has_its_figures_and_the_best_is_the_result(home, report, make):
    run = make.train("raw-intensity", 0)
    make.score(run, "MSLUB", [make.drawn_case("MSLUB", n) for n in range(3)])
    tables = report(run).tables
    variants = tables["variants"].set_index(["sequence", "variant"])
    results = tables["results"].set_index(["sequence", "variant"])
    assert set(variants.index) == {(s, v) for s in ("T1", "T2") for v in ("bright", "dark")}
    for sequence in ("T1", "T2"):
        bright, dark = (variants.loc[(sequence, v)] for v in ("bright", "dark"))
        assert bright["AP"] > dark["AP"]
        found = results.loc[(sequence, "bright")]
        assert (bright[["AP", "DSC", "cases"]] == found[["AP", "DSC", "cases"]]).all()
    assert tables["variants"].equals(report(run).tables["variants"]), "from the results kept"


def test_a_report_warns_of_models_that_are_demo_sized(scored, report):
    page = report(scored).page.read_text(encoding="utf-8")
    assert "Demo-sized models (DAL): the configuration “demo” is coarse" in page


@pytest.mark.parametrize("name", ["Simulated", "SimHealthy"])
def test_a_report_warns_of_models_that_have_seen_no_patient(make, report, name):
    described = paths.raw() / "SimHealthy" / "dataset_description.json"
    described.parent.mkdir(parents=True)
    described.write_text('{"GeneratedBy": [{"Name": "dal_auto simulate"}]}')
    run = make.train("mean-brain", 0)
    folder = run.folder.parents[1].with_name(name)
    run.folder.parents[1].rename(folder)
    moved = Run(folder / run.folder.parent.name / run.folder.name)
    make.score(moved, "MSLUB", [make.drawn_case("MSLUB", 0)])
    page = report(moved).page.read_text(encoding="utf-8")
    assert f"Models trained on {name}, which is simulated, have seen no patient." in page


def test_the_summary_opens_with_brains(make, report, monkeypatch, home):
    run = make.train("DAL", 0)
    make.score(run, "BraTS-GLI", [make.drawn_case("BraTS-GLI", n) for n in range(2)])
    page = report(run, figures=True).page.read_text(encoding="utf-8")
    strip, verdicts = page.index('src="figures/strip.png"'), page.index('id="verdicts"')
    assert strip < verdicts and page.count("figures/strip.png") == 1
    assert (home / "report" / "figures" / "strip.png").stat().st_size > 1000
