"""A dataset's page: its results, its worst and best cases, and all its cases."""

from __future__ import annotations

import dataclasses
import re

import pandas as pd
import pytest

from dal_auto.evaluation.report.cases import listed_cases, rankings
from dal_auto.evaluation.report.dataset_page import write_dataset_page
from dal_auto.evaluation.report.site import Site


def test_the_dataset_leads_to_viewers_and_pictures(by_hand, report, tmp_path):
    pages = by_hand.pages_of(report, tmp_path)
    page = pages["datasets/A.html"]
    rows = [row for row in page.rows if row[0].startswith(("c", "healthy")) and len(row) == 7]
    # The worst first, one without AP last; of the shown run only.
    assert [(row[0], row[1]) for row in rows] == [
        ("case", "shown in"),
        *(("c0", "viewer"), ("c1", "viewer"), ("c2", "picture"), ("c3", "–")),
        *(("c4", "–"), ("c5", "–"), ("c6", "–"), ("c7", "viewer"), ("healthy", "–")),
    ]
    assert rows[2] == ["c1", "viewer", "T1", "3.50", "10.0", "50.0", "2"]
    headings = page.cells[page.rows.index(rows[0])]
    assert [h["aria-sort"] for h in headings] == ["none"] * 4 + ["ascending"] + ["none"] * 2
    cards = re.findall(r'<ol class="cards">(.*?)</ol>', page.source, re.S)
    order = [re.findall(r"<(?:a href=[^>]*|strong)>(c\d)<", card) for card in cards]
    assert order == [["c0", "c1", "c2"], ["c7", "c6", "c5"]]
    assert "it is in B too" in page.text and "x9" in page.text


def test_numbers_share_decimals_carry_intervals_and_mark_the_best(by_hand, report, tmp_path):
    page = by_hand.pages_of(report, tmp_path)["datasets/A.html"]
    rows = page.rows[1:7]
    assert rows[0] == [
        *("T1", "DAL", "0", "8", "42.0 40.0 to 44.0", "–", "1.0e-05", "0.300", "0.250"),
    ]
    assert rows[2] == ["T1", "mean-brain", "0", "8", "30.0", "20.0", "0.250", "0.100", "–"]
    assert float(page.cell(rows[0], 4)["data-value"]) == 41.99
    assert "data-value" not in page.cell(rows[0], 5)
    marked = [
        [i for i, cell in enumerate(page.cells[1 + n]) if "best" in (cell.get("class") or "")]
        for n in range(6)
    ]
    # DSC of T1 has no rival: nothing to be better than.
    assert marked == [[], [4], [], [4, 5], [4], [4]]
    assert "nan" not in page.text.lower() and "None" not in [c for r in page.rows for c in r]


def test_pages_stay_light_for_a_thousand_cases(by_hand, report, tmp_path):
    cases = pd.DataFrame(
        [by_hand.case_row(f"BraTS-GLI-{i:05d}-000", i / 12.5) for i in range(1251)]
    )
    many = dataclasses.replace(report, cases=pd.concat([cases, cases.assign(sequence="T2")]))
    page = by_hand.pages_of(many, tmp_path)["datasets/A.html"]
    assert len(page.source.encode()) < 1_000_000
    assert len([row for row in page.rows if row and row[0].startswith("BraTS")]) == 2502


@pytest.fixture
def write(tmp_path, by_hand):
    """Write the page of dataset A of a report whose cases are these rows."""

    def write(rows, **changed):
        report = dataclasses.replace(by_hand.empty, cases=pd.DataFrame(rows), **changed)
        site = Site(report, tmp_path / "report" / "index.html")
        pages = {name: site.index.parent / "datasets" / f"{name}.html" for name in "AB"}
        cases = listed_cases(report)
        write_dataset_page(site, "A", pages, cases, rankings(cases), {})
        return by_hand.page(pages["A"])

    return write


def headings(page) -> list[str]:
    """Of the table of cases."""
    return next(row for row in page.rows if "case" in row)


def test_nothing_to_show_is_said_in_every_part(write):
    page = write([])
    assert page.rows == [] and page.source.count('class="empty"') == 5
    links = {a["href"] for a in page.named("a")}
    assert {"../index.html", "B.html"} <= links and "A.html" not in links


def test_what_all_cases_share_needs_no_column(write, by_hand):
    rows = [by_hand.case_row(name, 1.0) | {"patient": name} for name in "ab"]
    assert headings(write(rows)) == [
        *("case", "shown in", "sequence", "lesion ml", "AP", "DSC", "FP"),
    ]
    rows = [row | {"patient": "p", "seed": seed} for seed, row in enumerate(rows)]
    rows[1]["method"] = "VAE"
    assert headings(write(rows)) == [
        *("case", "shown in", "sequence", "method", "seed"),
        *("lesion ml", "AP", "DSC", "FP", "patient"),
    ]


def test_without_an_ap_cases_stay_in_their_order_and_none_is_ranked(write, by_hand):
    rows = [by_hand.case_row(name, 0.0) for name in "bca"]
    for row in rows:
        del row["AP"]
    page = write(rows)
    assert [row[0] for row in page.rows if row[0] in tuple("abc")] == ["b", "c", "a"]
    assert "No case has an AP." in page.text
    assert {th.get("aria-sort") for th in page.named("th") if "aria-sort" in th} == {"none"}


def test_one_case_is_the_worst_and_no_best(write, by_hand):
    page = write([by_hand.case_row("a", 5.0)])
    assert "Worst: T1, DAL" in page.text and "Best: T1, DAL" not in page.text
    assert "No volumes were kept" in page.text


def test_meanings_are_of_the_columns_that_are_shown(write, by_hand):
    results = pd.DataFrame([{"dataset": "A", "sequence": "T1", "AP": 5.0, "run": by_hand.run}])
    page = write([by_hand.case_row("a", 5.0)], results=results)
    told = page.source.split('<dl class="meanings">')[1].split("</dl>")[0]
    assert set(re.findall(r"<dt>(.*?)</dt>", told)) == {"AP", "DSC", "FP", "lesion ml"}


def test_of_other_datasets_nothing_is_on_the_page(write, by_hand):
    results = pd.DataFrame([{"dataset": "B", "sequence": "T1", "AP": 5.0, "run": by_hand.run}])
    left_out = pd.DataFrame({"dataset": ["B"], "case": ["x"], "reason": ["it is in A"]})
    page = write([], results=results, left_out=left_out)
    assert "No results on this dataset." in page.text and "it is in A" not in page.text
