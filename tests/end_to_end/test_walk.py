"""From raw scans to the report, through the real commands."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_the_demo_walks_from_nothing_to_the_path_of_the_report(own_home):
    arguments = ("--healthy", 2, "--lesioned", 1, "--spacing", 3, "--steps", 2)
    demo = own_home.spawn("dal_demo", "--home", own_home.path, *arguments)
    assert demo.returncode == 0, demo.stderr[-3000:]
    page = own_home.path / "results" / "report" / "index.html"
    assert demo.stderr.strip().splitlines()[-1] == f"report: {page}" and page.is_file()
    maps = (own_home.path / "maps").glob("*_anomaly.nii.gz")
    assert sorted(file.name.split("_")[-2] for file in maps) == ["FLAIR", "T1", "T2", "joint"]


def test_every_method_is_scored_on_both_sequences(home):
    results = pd.read_csv(home.path / "results/report/results.csv")
    methods = results["method"].str.split(" ").str[0]
    assert sorted(zip(methods, results["sequence"], strict=True)) == sorted(
        (method, sequence)
        for method in ("DAL", "mean-brain", "raw-intensity")
        for sequence in ("T1", "T2")
    )
    assert results["AP"].between(0, 100).all() and (results["cases"] == 1).all()


def test_the_report_is_an_offline_folder_that_says_it_is_simulated(home):
    page = (home.path / "results/report/index.html").read_text(encoding="utf-8")
    assert "simulated" in page.lower() and "not for diagnosis" in page
    assert 'href="datasets/' in page and 'src="http' not in page
    assert list((home.path / "results/report/cases").rglob("*.html"))
    assert "the best trivial baseline" in page


def test_maps_lie_on_the_grid_of_their_scans(home):
    scans = sorted((home.path / "scans").glob("*.nii.gz"))
    assert len(scans) == 2
    for scan in scans:
        stem = scan.name.removesuffix("w.nii.gz")
        image = nib.load(scan)
        anomaly = nib.load(home.path / "maps" / f"{stem}_anomaly.nii.gz")
        assert anomaly.shape == image.shape
        np.testing.assert_allclose(anomaly.affine, image.affine, atol=1e-5)
        assert anomaly.header["qform_code"] == image.header["qform_code"]
        values = anomaly.get_fdata()
        assert np.isfinite(values).all() and values.min() >= 0 and values.max() > 0


def test_simulated_scans_with_skull_need_every_step(home):
    decisions = json.loads((home.path / "preprocessed/SimHealthy/preprocessing.json").read_text())
    for steps in decisions["steps"].values():
        assert steps["strip"] and steps["bias_correct"]
        assert steps["coregister"] and steps["register_to_atlas"]


def test_the_brain_is_found_and_registered(home):
    quality = pd.read_csv(home.path / "preprocessed/SimHealthy/quality.csv")
    assert quality["brain_ml"].between(1100, 1900).all()
    assert (quality["atlas_dice"] > 0.85).all()
    assert (home.path / "preprocessed/SimHealthy/quality.html").is_file()


def test_predict_keeps_what_is_done(home):
    again = home.run(
        "dal_predict", "-i", home.path / "scans", "-o", home.path / "maps", "-m", "DAL"
    )
    assert again.returncode == 0
    assert "0 cases done, 1 kept from before" in again.stderr
