"""The page of one map: its volumes, its threshold, its neighbours, and what the model is not."""

from __future__ import annotations

import json
import re
import zlib
from html import unescape
from pathlib import Path

import pytest

from dal_auto.inference.case_page import model_warnings, viewer_name, write_case_page
from dal_auto.pages.volumes import ViewerVolumes

EVIL = '<b id="x">&'


@pytest.fixture
def volumes() -> ViewerVolumes:
    layer = zlib.compress(bytes(range(24)))
    return ViewerVolumes(
        shape=(2, 3, 4),
        origin=(10, 20, 30),
        start=(1, 2, 3),
        highest=0.5,
        layers={"input": layer, "anomaly": layer},
    )


@pytest.fixture
def page(tmp_path: Path, volumes, model_names, monkeypatch):
    """Write a page; its name and its source."""
    monkeypatch.setenv("DAL_RAW", str(tmp_path / "raw"))

    def write(case_id="a", sequence="T1", sequences=("T1", "T2"), files=None, **changed):
        model = model_names.model_copy(update=changed)
        name = write_case_page(
            tmp_path, case_id, sequence, sequences, volumes, 0.375, model, files or {}
        )
        return name, (tmp_path / name).read_text(encoding="utf-8")

    return write


def test_a_page_holds_its_volumes_and_the_masks_threshold(page):
    name, source = page()
    assert name == viewer_name("a", "T1") == "a_T1_viewer.html"
    (about,) = [
        json.loads(unescape(found))
        for found in re.findall(r"<script[^>]*>(\{.*?\})</script>", source, re.S)
    ]
    assert about["thresholds"] == [["as in the mask", 0.375]] and about["shape"] == [2, 3, 4]
    assert set(re.findall(r'data-layer="(\w+)"', source)) >= {"input", "anomaly"}
    assert "<title>a: T1, DAL</title>" in source and "not for diagnosis" in source


def linked(source: str) -> list[tuple[str, str]]:
    """Page and sequence of each other map of the case."""
    return re.findall(r'<a href="([^"]*)" data-linked>the same place in (\w+)</a>', source)


def test_it_leads_to_the_same_place_in_the_other_maps(page):
    _, source = page("odd é", "T2", ("T1", "T2", "joint"))
    assert linked(source) == [
        ("odd%20%C3%A9_T1_viewer.html", "T1"),
        ("odd%20%C3%A9_joint_viewer.html", "joint"),
    ]
    assert linked(page(sequences=("T1",))[1]) == []


def test_files_are_offered_in_the_order_of_what_they_are(page):
    _, source = page(files={"mask": "a b.nii.gz", "anomaly": "sub-1/x.nii.gz"})
    found = re.findall(r'<a href="([^"]*)" download>([^<]*)</a>', source)
    assert found == [("sub-1/x.nii.gz", "anomaly"), ("a%20b.nii.gz", "mask")]


def test_odd_names_are_text(page):
    name, source = page(EVIL, "T1", ("T1",), {EVIL: "x"}, method=EVIL)
    assert name.startswith(EVIL) and EVIL not in source
    assert source.count("&lt;b id=&#34;x&#34;&gt;&amp;") >= 3


def test_a_model_says_what_it_cannot_stand_for(model_names, tmp_path, monkeypatch, page):
    monkeypatch.setenv("DAL_RAW", str(tmp_path / "raw"))
    assert model_warnings(model_names) == []
    described = tmp_path / "raw" / "Heads" / "dataset_description.json"
    described.parent.mkdir(parents=True)
    described.write_text('{"GeneratedBy": [{"Name": "dal_auto simulate"}]}')
    changed = {"training_set": "Heads", "training_steps": 40}
    simulated, short = model_warnings(model_names.model_copy(update=changed))
    assert "Heads, which is simulated" in simulated and "40 steps only" in short
    _, source = page(**changed)
    assert simulated in source and short in source
    assert simulated not in page()[1]


@pytest.mark.parametrize("run", ["shipped", "calibrated"])
def test_what_a_model_is_like_is_told_by_its_values_whatever_its_file_is_called(model_names, run):
    changed = {"run": run, "training_set": "Simulated", "voxel_mm": 4.0, "training_steps": 1500}
    simulated, coarse = model_warnings(model_names.model_copy(update=changed))
    assert "simulated" in simulated
    assert "misses small and faint lesions" in coarse and "pipeline" not in coarse


@pytest.mark.parametrize("changed", [{"training_steps": 0}, {"fine_tuned": True}])
def test_a_method_without_steps_or_one_that_goes_on_from_another_model_is_not_short(
    model_names, changed
):
    few = {"training_steps": 500} | changed
    assert model_warnings(model_names.model_copy(update=few)) == []
