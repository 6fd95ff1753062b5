"""Nine datasets × three methods × T1 and T2 × three seeds: every table and file of the report."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dal_auto.cli.evaluate import main
from dal_auto.evaluation.paper.reference import DATASETS
from dal_auto.evaluation.scores import HELD_OUT, evaluated_datasets, read_scored
from dal_auto.evaluation.summary import write_summary

CELLS = 17 * 3 * 3  # (nine datasets with T1, eight with T2) × methods × seeds


@pytest.fixture(scope="module")
def report(world, make):
    with make.at_home(world.home):
        records = read_scored(world.runs, evaluated_datasets(world.runs))
        summary = write_summary(world.report, records, with_paper_tables=True)
    assert summary.failures == []
    return summary


@pytest.fixture(scope="module")
def results(report, world) -> pd.DataFrame:
    return pd.read_csv(world.report / "results.csv")


def voxels(world, make, run, dataset, sequence, variant=""):
    """Scores and labels of all cases of a cell, case by case; and which lie in the brain."""
    cases = [case for case in world.cases[dataset] if sequence in case.sequences]
    scores = [make.drawn_prediction(run, case, sequence).anomaly[variant] for case in cases]
    return scores, [case.lesion_mask for case in cases], [case.brain_mask for case in cases]


def test_there_is_a_row_for_every_cell(results):
    assert len(results) == CELLS
    keys = results.groupby(["dataset", "sequence"]).size()
    assert len(keys) == 17 and (keys == 9).all()
    assert ("ATLAS", "T2") not in keys
    assert set(results["dataset"]) == set(DATASETS)
    assert set(results["variant"].dropna()) == {"bright"}, "of two polarities the better one"


@pytest.mark.parametrize("dataset", ["BraTS-GLI", "ATLAS"])
def test_metrics_agree_with_scikit_learn_and_plain_words(world, make, results, dataset):
    run = next(run for run in world.runs if run.method == "DAL" and run.seed == 1)
    (row,) = results[
        (results["dataset"] == dataset)
        & (results["sequence"] == "T1")
        & (results["run"] == str(run))
    ].to_dict("records")
    scores, lesions, brains = voxels(world, make, run, dataset, "T1")
    flat_scores, flat_lesions = np.concatenate(scores).ravel(), np.concatenate(lesions).ravel()
    inside = np.concatenate(brains).ravel()
    assert row["AP"] == pytest.approx(100 * average_precision_score(flat_lesions, flat_scores))
    assert row["AP brain"] == pytest.approx(
        100 * average_precision_score(flat_lesions[inside], flat_scores[inside])
    )
    assert row["AUROC"] == pytest.approx(100 * roc_auc_score(flat_lesions, flat_scores))

    def dice(score, lesion, threshold):
        called = score >= threshold
        return 2 * (called & lesion).sum() / (called.sum() + lesion.sum())

    def mean_dice(threshold, within=None):
        return np.mean(
            [
                dice(s[b] if within else s, m[b] if within else m, threshold)
                for s, m, b in zip(scores, lesions, brains, strict=True)
                if m.any()
            ]
        )

    thresholds = np.unique(flat_scores)
    assert row["DSC"] == pytest.approx(100 * max(map(mean_dice, thresholds)))
    assert row["DSC brain"] == pytest.approx(100 * max(mean_dice(t, True) for t in thresholds))
    assert row["DSC pooled"] == pytest.approx(
        100 * max(dice(flat_scores, flat_lesions, t) for t in thresholds)
    )
    assert row["DSC practical"] == pytest.approx(100 * mean_dice(0.5))
    assert mean_dice(row["threshold"]) == pytest.approx(row["DSC"] / 100)
    outside = sum((m & ~b).sum() for m, b in zip(lesions, brains, strict=True))
    assert row["lesion outside brain %"] == pytest.approx(100 * outside / flat_lesions.sum())
    assert row["AP low"] <= row["AP"] <= row["AP high"]
    assert row["DSC low"] <= row["DSC"] + 1e-9 and row["DSC"] <= row["DSC high"] + 1e-9


def test_healthy_are_told_from_lesioned_subjects(world, make, results):
    run = next(run for run in world.runs if run.method == "mean-brain" and run.seed == 2)
    scores, labels = [], []
    for dataset in ("ATLAS", HELD_OUT):
        for score, lesion, brain in zip(*voxels(world, make, run, dataset, "T1"), strict=True):
            scores.append(np.quantile(score[brain], 0.999, method="inverted_cdf"))
            labels.append(lesion.any())
    assert labels.count(False) == 3, "one of ATLAS without a lesion, two held out"
    (row,) = results[(results["dataset"] == "ATLAS") & (results["run"] == str(run))].to_dict(
        "records"
    )
    assert row["healthy cases"] == 3
    assert row["AUROC subjects"] == pytest.approx(100 * roc_auc_score(labels, scores))


def test_seeds_and_averages_follow_from_the_results(results, world):
    seeds = pd.read_csv(world.report / "seeds.csv")
    assert len(seeds) == CELLS / 3 and (seeds["seeds"] == 3).all()
    mine = results[results["run"].str.contains("/DAL_")]
    first = seeds[(seeds["run name"].str.startswith("DAL")) & (seeds["dataset"] == "MSLUB")]
    expected = mine[mine["dataset"] == "MSLUB"].groupby("sequence")["AP"].agg(["mean", "std"])
    np.testing.assert_allclose(first.sort_values("sequence")["AP"], expected["mean"])
    np.testing.assert_allclose(first.sort_values("sequence")["AP std"], expected["std"])
    averages = pd.read_csv(world.report / "averages.csv")
    assert len(averages) == 3 * 3 * 2
    (both,) = averages[
        (averages["method"] == "DAL")
        & (averages["sequence"] == "all")
        & (averages["average"] == "plain mean of cells")
    ].to_dict("records")
    assert (both["cells"], both["images"], both["seeds"]) == (17, 51, 3)
    assert both["AP"] == pytest.approx(mine["AP"].mean())
    per_seed = mine.groupby("seed")["AP"].mean()
    assert both["AP std"] == pytest.approx(per_seed.std())


def test_cases_and_lesion_sizes_are_listed(world, results):
    cases = pd.read_csv(world.report / "cases.csv")
    assert len(cases) == 3 * CELLS + 3 * CELLS / 3, "raw intensity has two variants"
    mine = cases[(cases["run"] == results["run"][0]) & (cases["dataset"] == "MSLUB")]
    row = results[(results["run"] == results["run"][0]) & (results["dataset"] == "MSLUB")]
    for sequence, rows in mine.groupby("sequence"):
        (whole,) = row[row["sequence"] == sequence].to_dict("records")
        assert rows["DSC"].mean() == pytest.approx(whole["DSC"])
        assert rows["FP"].mean() == pytest.approx(whole["FP per case"])
        assert (rows["FP ml"] >= 0.001 * rows["FP"]).all(), "each detection has a voxel at least"
        found = 100 * rows["lesions found"].sum() / rows["lesions"].sum()
        assert found == pytest.approx(whole["lesions found"])
    sizes = pd.read_csv(world.report / "lesion-sizes.csv")
    assert len(sizes) == 4 * CELLS
    assert sizes.groupby(["dataset", "sequence", "run"])["lesions"].sum().gt(0).all()


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6", "table7", "table8",
                                  "similarity", "hyper-parameters"])  # fmt: skip
def test_each_of_the_papers_tables_comes_in_three_formats(report, world, name):
    stem = world.report / "paper-tables" / name
    assert stem.with_suffix(".csv").is_file()
    text = stem.with_suffix(".md").read_text(encoding="utf-8")
    latex = stem.with_suffix(".tex").read_text(encoding="utf-8")
    assert text.startswith("### ") and "arXiv 2512.21924v1" in text
    if name != "hyper-parameters":
        assert r"\toprule" in latex and latex.count(r"\\") == text.count("\n| ") - 1
    else:
        assert "No run for this table has been scored." in text


def paper_table(world, name: str) -> pd.DataFrame:
    return pd.read_csv(world.report / "paper-tables" / f"{name}.csv")


def test_table_3_holds_ours_beside_what_the_text_states(report, world, results):
    table = paper_table(world, "table3")
    paper = table[(table["method"] == "DAL") & (table["source"] == "paper")].set_index("sequence")
    assert paper.loc["T2", "BraTS-GLI AP"] == 83.45 and paper.loc["all", "mean DSC"] == 45.17
    assert np.isnan(paper.loc["T1", "BraTS-GLI AP"]), "what is not in the text is not there"
    ours = table[(table["method"] == "DAL") & (table["source"] == "ours")].set_index("sequence")
    assert ours["cells"].tolist() == [9, 8, 17] and ours["seeds"].tolist() == [3, 3, 3]
    mine = results[results["run"].str.contains("/DAL_")]
    cell = mine[(mine["dataset"] == "MSLUB") & (mine["sequence"] == "T2")]["DSC"]
    assert ours.loc["T2", "MSLUB DSC"] == pytest.approx(cell.mean())
    assert ours.loc["T2", "MSLUB DSC std"] == pytest.approx(cell.std())
    assert ours.loc["all", "mean AP"] == pytest.approx(mine["AP"].mean())
    assert ours["maps"].isna().all(), "DAL has one map"
    other = table[table["method"] == "raw-intensity"].set_index("sequence")["maps"]
    chosen = results[results["method"].str.startswith("raw-intensity")]
    assert other["all"] == ", ".join(sorted(set(chosen["variant"])))
    text = (world.report / "paper-tables/table3.md").read_text(encoding="utf-8")
    assert f"{ours.loc['T1', 'MSLUB AP']:.2f} ± {ours.loc['T1', 'MSLUB AP std']:.2f}" in text


def test_the_papers_tables_are_not_mixed(report, world):
    tables = {
        name: (world.report / f"paper-tables/{name}.csv").read_text(encoding="utf-8")
        for name in ("table3", "table6", "table7", "table8")
    }
    assert "83.45" in tables["table3"] and "85.1," not in tables["table3"]
    for name in ("table6", "table7", "table8"):
        assert "85.1," in tables[name] and "83.45" not in tables[name]


def test_table_4_and_the_similarities(report, world, results):
    table = paper_table(world, "table4").set_index(["method", "source"])
    assert table.loc[("DAL", "paper"), "T1 ratio"] == 1.91
    assert table.loc[("DAL", "paper"), "T1 N"] == 4443
    ours = table.loc[("DAL", "ours")]
    mine = results[results["run"].str.contains("/DAL_") & (results["sequence"] == "T1")]
    assert ours["T1 N"] == 27
    assert ours["T1 RE_N"] == pytest.approx(mine["RE_N"].mean())
    assert ours["T1 ratio"] == pytest.approx(ours["T1 RE_A"] / ours["T1 RE_N"])
    assert ("raw-intensity", "ours") not in table.index, "it restores nothing"
    similar = paper_table(world, "similarity").set_index(["method", "source", "left out"])
    assert similar.loc[("DAL", "paper", "nothing"), "T1 SSIM"] == 0.9731
    assert similar.loc[("DAL", "ours", "nothing"), "healthy cases"] == 2


def test_figures_come_as_png_and_svg(report, world):
    folder = world.report / "figures"
    pictures = {path.stem for path in folder.glob("*.png")}
    assert pictures == {path.stem for path in folder.glob("*.svg")}
    kinds = {re.split("_", stem)[0] for stem in pictures}
    assert kinds == {
        "precision-recall", "sensitivity", "boxes", "anomaly-maps", "pseudo-healthy", "steps",
        "vectors", "strip",
    }  # fmt: skip
    assert len([stem for stem in pictures if stem.startswith("precision-recall")]) == 17


def test_the_manifest_says_what_made_the_report(report, world):
    manifest = json.loads((world.report / "manifest.json").read_text())
    assert len(manifest["runs"]) == 9
    for run in world.runs:
        noted = manifest["runs"][str(run)]
        assert noted["checkpoint_sha256"] == run.checkpoint_sha256()
        assert noted["records"] == 9 * 3 + 8 * 3 + 2 * 2
    training = [line for line in manifest["commands"] if line.startswith("dal_train")]
    assert training[0].startswith("dal_train -d IXI -c demo -m DAL") and "0,1,2" in training[0]
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((world.report / name).read_bytes()).hexdigest() == digest
    assert {"results.csv", "index.html", "paper-tables/table3.tex"} <= set(manifest["files"])
    assert manifest["seconds"].keys() >= {"read", "tables", "figures", "page"}
    assert manifest["peak_memory_mb"]["process"] > 10
    assert {"dal_auto", "torch", "numpy"} <= set(manifest["versions"])


def test_the_report_is_rebuilt_alone_with_the_same_bytes(report, world, make, caplog):
    """And absent test sets are listed with what to do: here all nine, since nothing is on disk."""
    before = {
        path: path.read_bytes()
        for path in world.report.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    caplog.set_level("INFO")
    with make.at_home(world.home) as patch:
        patch.setattr(
            "dal_auto.evaluation.results.Packer", None
        )  # cells are kept: no count is read
        assert main(["--report-only", "--paper-tables"]) == 0
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert changed == []
    manifest = json.loads((world.report / "manifest.json").read_text())
    assert manifest["command"] == "dal_evaluate --report-only --paper-tables"
    absent = pd.read_csv(world.report / "absent-datasets.csv")
    assert absent["dataset"].tolist() == list(DATASETS)
    remedy = absent.set_index("dataset").loc["MSLUB", "remedy"]
    assert "3D-MR-MS" in remedy and "`dal_plan_and_preprocess -d MSLUB`" in remedy
