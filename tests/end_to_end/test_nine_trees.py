"""The paper's nine test sets as they are downloaded, in small, from raw folders to the report."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from dal_auto.evaluation.paper.reference import DATASETS

pytestmark = [pytest.mark.slow, pytest.mark.long]

#: At this voxel size the small heads can be stripped and registered.
SPACING_MM = 6.0
#: greedy without its finest level, which has nothing to gain from 6 mm.
COARSE = ("--set", "preprocessing.registration_iterations=50x20x0")
METHODS = ("mean-brain", "raw-intensity")


@pytest.fixture(scope="module")
def lab(own_home, miniature: ModuleType):
    """All ten folders, preprocessed, and two methods trained on IXI."""
    home = own_home
    for name in (*DATASETS, "IXI"):
        miniature.write_tree(name, home.path / "raw" / name, SPACING_MM)
    for arguments in (
        ("dal_plan_and_preprocess", "-d", "IXI", *DATASETS, *COARSE),
        *(("dal_train", "-c", "demo", "-m", method, "--device", "cpu") for method in METHODS),
        ("dal_evaluate", "-d", "ALL", "-m", "ALL", "--paper-tables", "--device", "cpu"),
    ):
        outcome = home.spawn(*arguments)
        assert outcome.returncode == 0, f"{arguments}: {outcome.stderr[-3000:]}"
    return home


def report(home, name: str) -> Path:
    return home.path / "results" / "report" / name


def test_every_dataset_is_scored_on_the_sequences_that_it_has(lab):
    results = pd.read_csv(report(lab, "results.csv"))
    found = {(row.dataset, row.sequence) for row in results.itertuples()}
    assert found == {(name, s) for name in DATASETS for s in ("T1", "T2")} - {("ATLAS", "T2")}
    assert len(results) == 17 * len(METHODS)
    assert results["AP"].between(0, 100).all()


def test_every_case_of_the_download_is_in_the_table(lab):
    cases = pd.read_csv(report(lab, "cases.csv"))
    scored = cases.groupby("dataset")["case"].nunique().to_dict()
    for name in DATASETS:
        decisions = json.loads((lab.path / f"preprocessed/{name}/preprocessing.json").read_text())
        assert scored[name] == len(decisions["steps"]) > 1, name


def test_the_brighter_lesions_of_t2_are_found_above_chance(lab):
    """The trees' T2 lesions are brighter than tissue and darker than CSF: raw intensity ranks
    them above most of the brain, wherever the chain went wrong they would not be there."""
    results = pd.read_csv(report(lab, "results.csv"))
    t2 = results[(results["sequence"] == "T2") & results["method"].str.startswith("raw-intensity")]
    assert (t2["AUROC"] > 80).all(), t2[["dataset", "AUROC"]]


def test_the_paper_table_and_a_page_for_every_dataset_are_there(lab):
    table = pd.read_csv(next(report(lab, "paper-tables").glob("table3.csv")))
    assert set(table["source"]) == {"ours", "paper"}
    pages = {page.stem for page in report(lab, "datasets").glob("*.html")}
    assert pages >= set(DATASETS)
    assert not report(lab, "absent-datasets.csv").exists(), "all nine are here"
