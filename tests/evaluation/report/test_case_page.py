"""A case's page: its volumes, its thresholds, and the way to its neighbours."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zlib
from pathlib import Path

import pandas as pd
import pytest

from dal_auto.evaluation.report.case_page import write_case_pages
from dal_auto.evaluation.report.cases import listed_cases, rankings
from dal_auto.evaluation.report.site import Site

NAN = float("nan")


def case_pages(pages):
    """Case → its page."""
    found = {name: page for name, page in pages.items() if name.startswith("cases/")}
    return {Path(name).name.split("_")[0]: page for name, page in found.items()}


def test_worst_and_best_have_a_page_that_holds_their_volumes(by_hand, report, tmp_path):
    pages = case_pages(by_hand.pages_of(report, tmp_path))
    # c3 is neither among the worst three nor the best three.
    assert list(pages) == ["c0", "c1", "c7"]
    page = pages["c1"]
    kinds = {one.get("data-layer"): one for one in page.named("script")}
    assert {"input", "pseudo-healthy", "anomaly", "lesion"} <= set(kinds)
    about, *layers, _ = page.texts["script"]
    assert json.loads(about) == {
        "shape": [3, 4, 5],
        "origin": [10, 20, 30],
        "start": [1, 2, 3],
        "highest": 0.5,
        "voxel_ml": 0.001,
        "thresholds": [["practical", 0.25], ["best for the dataset", 0.3]],
    }
    assert [len(zlib.decompress(base64.b64decode(layer))) for layer in layers] == [60] * 4
    links = {a["href"].split("/")[-1].split("_")[0] for a in page.named("a")}
    assert {"c0", "c7", "A.html"} <= links
    assert "Mean |input" not in page.text and "Average precision" in page.text
    assert len([i for i in page.named("input") if i["type"] == "range"]) == 8
    labelled = {label["for"] for label in page.named("label") if "for" in label}
    for control in page.named("input"):
        assert control["type"] != "range" or control["id"] in labelled
    canvases = page.named("canvas")
    assert len(canvases) == 6, "three planes, and the pseudo-healthy image beside them"
    assert all(c["tabindex"] == "0" and c["role"] == "img" and c["aria-label"] for c in canvases)


@pytest.fixture
def write(tmp_path, by_hand):
    """Write the pages of the cases of dataset A; case → its page."""

    def write(report):
        site = Site(report, tmp_path / "report" / "index.html")
        ranked = rankings([one for one in listed_cases(report) if one.dataset == "A"])
        dataset_page = tmp_path / "report" / "datasets" / "A.html"
        found = write_case_pages(site, dataset_page, ranked)
        return {case.case_id: by_hand.page(path) for case, path in found.items()}

    return write


def neighbours(page) -> list[tuple[str, Path]]:
    """Text of each link to another case, and its page."""
    found = re.findall(r'<a href="([^"]*)">(next [^<]*)</a>', page.source)
    return [(text, page.target(link)) for link, text in found]


def test_neighbours_are_the_next_worse_and_the_next_better(report, write):
    report.volumes[1].path.write_bytes(b"spoilt")  # c1
    pages = write(report)
    assert list(pages) == ["c0", "c7"], "a case without volumes has no page, and is passed over"
    assert neighbours(pages["c0"]) == [("next better: c7", pages["c7"].path.resolve())]
    assert neighbours(pages["c7"]) == [("next worse: c0", pages["c0"].path.resolve())]


def test_a_case_between_two_leads_to_both(report, write):
    pages = write(report)
    assert neighbours(pages["c1"]) == [
        ("next worse: c0", pages["c0"].path.resolve()),
        ("next better: c7", pages["c7"].path.resolve()),
    ]


def test_of_one_case_there_is_no_neighbour(report, write):
    (page,) = write(dataclasses.replace(report, volumes=report.volumes[:1])).values()
    assert neighbours(page) == []
    assert {"../../index.html", "../../datasets/A.html"} <= {a["href"] for a in page.named("a")}


def test_without_volumes_there_is_no_page(report, write, tmp_path):
    assert write(dataclasses.replace(report, volumes=[])) == {}
    for one in report.volumes:
        one.path.unlink()
    assert write(report) == {} and not (tmp_path / "report" / "cases").exists()


def thresholds(page) -> list[list[object]]:
    return json.loads(page.texts["script"][0])["thresholds"]


def test_thresholds_are_those_of_the_cases_own_run_that_are_known(report, write, by_hand):
    def of(**changed):
        results = report.results.assign(**changed)
        pages = write(dataclasses.replace(report, results=results, volumes=report.volumes[:1]))
        return thresholds(pages["c0"])

    assert of() == [["practical", 0.25], ["best for the dataset", 0.3]]
    assert of(**{"practical threshold": NAN}) == [["best for the dataset", 0.3]]
    assert of(threshold=float("inf")) == [["practical", 0.25]]
    assert of(run=by_hand.second) == of(sequence="T3") == []
    without = dataclasses.replace(report, results=pd.DataFrame(), volumes=report.volumes[:1])
    assert thresholds(write(without)["c0"]) == []


def test_figures_are_told_without_what_the_heading_says(report, write):
    page = write(dataclasses.replace(report, volumes=report.volumes[:1]))["c0"]
    names = page.source.split('<dl class="figures">')[1].split("</dl>")[0]
    shown = [part.split("</dt>")[0] for part in names.split("<dt>")[1:]]
    assert shown == ["seed", "lesion ml", "AP", "DSC", "FP"]
    assert "c0: T1, DAL" in page.text and "No picture was drawn." in page.text
