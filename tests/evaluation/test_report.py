"""The page is one file that loads nothing, escapes everything, and hides no gap."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.evaluation.report.page import Picture, Report, write_report
from dal_auto.figures.png import save_png

VOID = {"meta", "img", "br", "link", "hr", "input"}
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tags with their attributes, cells of tables, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    picture = tmp_path / "pictures" / "case.png"
    save_png(Figure(figsize=(1, 1)), picture)
    methods = ["DAL", "mean-brain"]
    results = pd.DataFrame(
        {
            "dataset": ["A"] * 4 + ["B"],
            "sequence": ["T1", "T1", "T2", "T2", "T1"],
            "method": [*methods, *methods, "DAL"],
            "cases": [2, 2, 2, 2, 9],
            "AP": [41.99, 30.0, 54.94, 54.941, 7.0],
            "DSC": [np.nan, 20.0, 30.0, 10.0, 7.0],
        }
    )
    return Report(
        title="Title of the report",
        intro=["First paragraph."],
        simulated=True,
        verdicts=["DAL does not beat mean-brain on T2."],
        results=results,
        cases=pd.DataFrame({"case": ["c1", None], "AP": [0.00001, 0.25]}),
        pictures=[
            Picture(picture, "Panel", "A", "c1", "T1", "DAL"),
            Picture(picture, "Panel", "A", "c2", "T1", "DAL"),
            Picture(picture, "Panel", "B", "c1", "T2", "DAL"),
        ],
        plans=[
            ("training.steps", "200", "ours: set by the planner"),
            ("scoring.score", "hybrid", "paper: Eq. 15"),
            ("intensity.landmarks", "0.1", "measured: 581 cases"),
            ("training.amp", "False", "user: --set"),
            ("method.settings", "{}", ""),
        ],
        versions={"torch": "2.4.1"},
        failures=[],
        methods_paragraph="Images were corrected with N4.",
        limits=["Lesions outside the brain mask."],
    )


def page_of(report: Report, tmp_path: Path) -> Page:
    path = tmp_path / "report.html"
    write_report(report, path)
    return Page(path.read_text(encoding="utf-8"))


def cell_of(page: Page, row: list[str], column: int) -> dict[str, str | None]:
    """Attributes of a cell, found by the place of its row among all rows."""
    before = sum(len(r) for r in page.rows[: page.rows.index(row)])
    return [a for tag, a in page.tags if tag in ("td", "th")][before + column]


def test_the_page_is_well_formed_and_loads_nothing(report, tmp_path):
    page = page_of(report, tmp_path)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "poster", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not (attributes.get("href") or "#").startswith("http")
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest", page.source)
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv")]
    assert "default-src 'none'" in policy and "http" not in policy


def test_every_link_within_the_page_has_a_target(report, tmp_path):
    page = page_of(report, tmp_path)
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {a["href"].removeprefix("#") for a in page.named("a")} <= targets


def test_every_picture_is_embedded_whole_with_a_text(report, tmp_path):
    page = page_of(report, tmp_path)
    images = page.named("img")
    assert len(images) == 3
    for image, picture in zip(images, report.pictures, strict=True):
        head, content = image["src"].split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(content) == picture.path.read_bytes()
        for word in (picture.caption, picture.case_id, picture.dataset, picture.sequence):
            assert word in image["alt"]


def test_pictures_are_grouped_by_dataset_and_case_and_only_the_first_is_open(report, tmp_path):
    page = page_of(dataclasses.replace(report, plans=[]), tmp_path)
    # Dataset A, its cases c1 and c2; dataset B, its case c1.
    assert ["open" in d for d in page.named("details")] == [True, True, False, False, False]


def test_a_lost_picture_is_named_not_fatal(report, tmp_path):
    report.pictures[1].path.unlink()
    page = page_of(report, tmp_path)
    assert page.named("img") == []
    assert page.text.count("The picture case.png is missing.") == 3


def test_everything_that_was_given_is_inert_text(report, tmp_path):
    frame = pd.DataFrame({"dataset": [EVIL], "case": [EVIL], EVIL: [EVIL], "AP": [1.0]})
    evil = dataclasses.replace(
        report,
        title=EVIL,
        intro=[EVIL],
        verdicts=[EVIL],
        results=frame,
        cases=frame,
        pictures=[dataclasses.replace(report.pictures[0], caption='" onerror="x', case_id=EVIL)],
        plans=[(EVIL, EVIL, EVIL), ("key", "value", f"ours: {EVIL}")],
        versions={EVIL: EVIL},
        failures=[EVIL],
        methods_paragraph=EVIL,
        limits=[EVIL],
    )
    page = page_of(evil, tmp_path)
    assert len(page.named("script")) == 1
    assert page.open == []
    assert page.text.count(EVIL) >= 17
    assert all("onerror" not in attributes for _, attributes in page.tags)


def test_missing_values_are_dashes_that_sort_as_missing(report, tmp_path):
    page = page_of(report, tmp_path)
    row = ["A", "T1", "DAL", "2", "41.99", "–"]
    assert row in page.rows
    assert "data-value" not in cell_of(page, row, 5)
    assert ["–", "0.250"] in page.rows
    assert "nan" not in page.text.lower() and "None" not in [c for r in page.rows for c in r]


def test_numbers_share_decimals_and_sort_by_their_full_value(report, tmp_path):
    page = page_of(report, tmp_path)
    row = ["B", "T1", "DAL", "9", "7.00", "7.00"]
    assert row in page.rows
    assert float(
        cell_of(page, ["A", "T2", "mean-brain", "2", "54.94", "10.00"], 4)["data-value"]
    ) == (54.941)
    assert ["c1", "1.0e-05"] in page.rows, "a tiny number is not zero"


def test_the_best_of_each_dataset_and_sequence_is_emphasised(report, tmp_path):
    page = page_of(report, tmp_path)

    def best(row: list[str]) -> list[bool]:
        return ["best" in (cell_of(page, row, column).get("class") or "") for column in range(6)]

    no = [False] * 4
    assert best(["A", "T1", "DAL", "2", "41.99", "–"]) == [*no, True, False]
    # Its DSC has no rival: nothing to be better than.
    assert best(["A", "T1", "mean-brain", "2", "30.00", "20.00"]) == [*no, False, False]
    # What looks equal is equal.
    assert best(["A", "T2", "DAL", "2", "54.94", "30.00"]) == [*no, True, True]
    assert best(["A", "T2", "mean-brain", "2", "54.94", "10.00"]) == [*no, True, False]
    assert best(["B", "T1", "DAL", "9", "7.00", "7.00"]) == [*no, False, False]


def test_headings_of_data_tables_are_buttons_that_state_their_order(report, tmp_path):
    page = page_of(report, tmp_path)
    headings = [th for th in page.named("th") if "sortable" in (th.get("class") or "")]
    assert len(headings) == 6 + 2 == len(page.named("button"))
    assert {th["aria-sort"] for th in headings} == {"none"}
    assert {th["scope"] for th in headings} == {"col"}


def test_banners_say_what_the_page_is(report, tmp_path):
    assert "Simulated data." in page_of(report, tmp_path).text
    real = page_of(dataclasses.replace(report, simulated=False), tmp_path)
    assert "Simulated data" not in real.text
    assert "Research tool, not for diagnosis" in real.text
    assert "DAL does not beat mean-brain on T2." in real.text


def test_sources_of_plans_wear_a_badge_with_a_word(report, tmp_path):
    page = page_of(report, tmp_path)
    rows = [row for row in page.rows if "." in row[0] and len(row) == 3]
    assert rows == [
        ["training.steps", "200", "oursset by the planner"],
        ["scoring.score", "hybrid", "paperEq. 15"],
        ["intensity.landmarks", "0.1", "measured581 cases"],
        ["training.amp", "False", "user--set"],
        ["method.settings", "{}", "–"],
    ]


def test_what_is_missing_is_said(tmp_path):
    empty = Report(
        title="Empty",
        intro=[],
        simulated=False,
        verdicts=[],
        results=pd.DataFrame(),
        cases=pd.DataFrame(columns=["case", "AP"]),
        pictures=[],
        plans=[],
        versions={},
        failures=[],
        methods_paragraph="",
        limits=[],
    )
    page = page_of(empty, tmp_path)
    assert page.named("table") == []
    sections = len(page.named("section")) + len(page.named("footer"))
    assert page.source.count('class="empty"') == sections


def test_failures_are_listed_or_none(report, tmp_path):
    assert "None." in page_of(report, tmp_path).text
    failed = page_of(dataclasses.replace(report, failures=["case 7 failed"]), tmp_path)
    assert "case 7 failed" in failed.text and "None." not in failed.text
    assert "Failures (1)" in failed.text


def test_equal_reports_give_equal_bytes(report, tmp_path):
    first = page_of(report, tmp_path / "a").source
    assert first == page_of(report, tmp_path / "b").source
