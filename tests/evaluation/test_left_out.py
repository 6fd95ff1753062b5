"""``--exclude-overlap``: a scan that two test sets hold counts once, and the report says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dal_auto.cli.evaluate import main
from dal_auto.errors import UsageError
from dal_auto.evaluation import keeping
from dal_auto.evaluation import summary as summary_module
from dal_auto.evaluation.left_out import LeftOut, overlapping

IDS = {
    "BraTS-GLI": ["BraTS2021_00000", "BraTS2021_00014"],
    "UPenn-GBM": ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11", "UPENN-GBM-00003_11"],
    "MSLUB": ["patient01"],
}
CROSSWALK = """\
Data Collection (as on TCIA+additional);PatientID on TCIA Radiology Portal;BraTS2021 ID;\
Segmentation (Task 1) Cohort
UPENN-GBM;UPENN-GBM-00001_11;BraTS2021_00000;Training
UPENN-GBM;UPENN-GBM-00002_11;BraTS2021_00001;Validation
UPENN-GBM_Additional;new-not-previously-in-TCIA;BraTS2021_00002;Training
"""


@pytest.fixture
def scored(home: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAL_HOME with one run that is scored on three datasets."""
    monkeypatch.setattr(keeping, "_draw", lambda *_: None)
    monkeypatch.setattr(summary_module, "draw_all", lambda *_: [])  # figures take the most time
    run = make.train("mean-brain", 0)
    for dataset, ids in IDS.items():
        cases = [replace(make.drawn_case(dataset, n), case_id=i) for n, i in enumerate(ids)]
        make.score(run, dataset, cases)
    return home


def write_crosswalk(home: Path) -> None:
    path = home / "raw" / "BraTS-GLI" / "BraTS2021_MappingToTCIA.csv"
    path.parent.mkdir(parents=True)
    path.write_text(CROSSWALK, encoding="utf-8")


def test_shared_cases_count_nowhere_and_the_report_says_how_many(scored: Path) -> None:
    write_crosswalk(scored)
    assert main(["--report-only", "--exclude-overlap"]) == 0
    report = scored / "results" / "report"
    results = pd.read_csv(report / "results.csv").set_index(["dataset", "sequence"])
    assert results.loc[("UPenn-GBM", "T1"), ["cases", "left out"]].tolist() == [2, 1]
    assert results.loc[("BraTS-GLI", "T1"), ["cases", "left out"]].tolist() == [2, 0]
    assert results.loc[("MSLUB", "T2"), ["cases", "left out"]].tolist() == [1, 0]
    assert "UPENN-GBM-00001_11" not in set(pd.read_csv(report / "cases.csv")["case"])
    left = pd.read_csv(report / "left-out.csv").to_dict("records")
    assert left == [
        {
            "dataset": "UPenn-GBM",
            "case": "UPENN-GBM-00001_11",
            "reason": "BraTS2021_00000 in BraTS-GLI, by BraTS2021_MappingToTCIA.csv",
        }
    ]
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "UPenn-GBM: 1 of 3 cases are left out" in page
    assert "Of 1 further scans of BraTS-GLI it cannot be told" in page


def test_without_the_option_all_cases_count_and_nothing_old_is_left(scored: Path) -> None:
    write_crosswalk(scored)
    report = scored / "results" / "report"
    main(["--report-only", "--exclude-overlap"])
    assert main(["--report-only"]) == 0
    results = pd.read_csv(report / "results.csv")
    assert results.loc[results["dataset"] == "UPenn-GBM", "cases"].eq(3).all()
    assert "left out" not in results and not (report / "left-out.csv").exists()


def test_a_dataset_of_which_nothing_is_kept_does_not_empty_the_report(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = scored / "results" / "report"
    assert main(["--report-only", "-d", "mslub"]) == 0
    before = (report / "results.csv").read_bytes()
    assert main(["--report-only", "-d", "MSLUB", "MSLBU"]) == 2
    said = capsys.readouterr().err
    assert "no scores are kept of MSLBU. Did you mean MSLUB?" in said
    assert "Kept: BraTS-GLI, MSLUB, UPenn-GBM" in said
    assert (report / "results.csv").read_bytes() == before
    shutil.rmtree(next((scored / "results").rglob("evaluation")))
    assert main(["--report-only"]) == 2
    assert (report / "results.csv").read_bytes() == before


def test_an_overlap_that_cannot_be_told_is_an_error_before_any_work(
    scored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--report-only", "--exclude-overlap"]) == 2
    assert not (scored / "results" / "report" / "results.csv").exists()
    with pytest.raises(UsageError, match=r"UPenn-GBM.*BraTS2021_MappingToTCIA\.xlsx"):
        overlapping(IDS, scored / "raw")


def test_datasets_without_overlap_need_no_table(scored: Path) -> None:
    assert overlapping({"MSLUB": ["patient01"], "BraTS-GLI": ["x"]}, scored / "raw") == LeftOut()
    assert main(["-d", "MSLUB", "--report-only", "--exclude-overlap"]) == 0


def test_what_is_left_out_is_not_predicted() -> None:
    left = LeftOut({"UPenn-GBM": {"a": "why"}})
    cases = {name: [SimpleNamespace(case_id=i) for i in "ab"] for name in ("UPenn-GBM", "MSLUB")}
    thin = left.thin(cases)
    assert [one.case_id for one in thin["UPenn-GBM"]] == ["b"]
    assert [one.case_id for one in thin["MSLUB"]] == ["a", "b"]
