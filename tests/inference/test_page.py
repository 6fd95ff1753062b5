"""The page of a folder of maps, read as a reader's program would."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from dal_auto.figures.png import save_png
from dal_auto.inference.limits import LIMITS
from dal_auto.inference.page import write_page
from dal_auto.inference.record import PredictionRecord
from dal_auto.inference.remark import Remark, flags_of

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Rows of the table of cases, all attributes, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag in VOID:
            return
        if tag == "tr" and "tbody" in self._open:
            self.rows.append([])
        if tag in ("td", "th") and "tbody" in self._open:
            self.rows[-1].append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open) and "tbody" in self._open:
            self.rows[-1][-1] += data
        if not {"style", "script"} & set(self._open):
            self.words += data

    def values(self, tag: str, name: str) -> list[str]:
        return [a[name] or "" for t, a in self.attributes if t == tag and name in a]


@pytest.fixture
def read(tmp_path):
    from matplotlib.figure import Figure

    def make(*records: PredictionRecord, failures: tuple[str, ...] = ()) -> Reader:
        for one in records:
            for shown in one.maps:
                save_png(Figure(figsize=(2, 3)), tmp_path / shown.picture)
        path = write_page(tmp_path, records, failures)
        return Reader(path.read_text(encoding="utf-8"))

    return make


def test_the_largest_anomaly_stands_first_with_its_picture_and_figures(read, record):
    page = read(record("a", 1.0, 30.0), record("b", 4.0))
    cases = [re.match(r"\w", row[1].strip())[0] + row[2] for row in page.rows]
    assert cases == ["aT2", "aT1", "bT1"]
    assert page.rows[0][3:] == ["30.00", "3", "15.00", "0.900", "0.0100", "0.2500"]
    assert page.values("img", "src") == ["a_T2.png", "a_T1.png", "b_T1.png"]
    assert page.values("img", "loading") == ["lazy"] * 3
    assert page.values("img", "width") == ["200"] * 3 and page.values("img", "height")
    (alternative, *_) = page.values("img", "alt")
    assert alternative.startswith("a, T2: three views") and "30.00 ml" in alternative
    assert "a_T2_anomaly.nii.gz" in page.values("a", "href")


def test_the_joint_map_ranks_its_case_and_stands_above_the_others(read, record):
    several = record("a", 1.0, 30.0, 2.0)
    first, second, third = several.maps
    joint = third.model_copy(update={"sequence": "joint"})
    page = read(several.model_copy(update={"maps": (first, second, joint)}), record("b", 4.0))
    assert [row[2] for row in page.rows] == ["T1", "joint", "T2", "T1"]
    assert page.rows[0][1].strip().startswith("b")
    assert "its joint map above" in page.words


def test_it_says_what_it_is_not_and_what_the_method_cannot_see(read, record, model_names):
    page = read(record("a", 1.0))
    assert "not for diagnosis" in page.words
    assert all(limit in page.words for limit in LIMITS)
    assert "trained on IXI" in page.words and "user: --threshold" in page.words
    assert model_names.run in page.words


def test_flags_warnings_and_failures_are_shown_and_escaped(read, tmp_path, record):
    odd = record(
        "a",
        1.0,
        flags=(Remark(text="atlas_dice 0.5 <b>"),),
        warnings=(Remark(text="T1 & T2 swapped"),),
    )
    page = read(odd, record("b", 2.0), failures=("case <c>: no & such file",))
    assert "atlas_dice 0.5 <b>" in page.rows[1][1] and "T1 & T2 swapped" in page.rows[1][1]
    assert "case <c>: no & such file" in page.words
    assert page.values("tr", "class") == ["flagged"]
    assert "<b>" not in (tmp_path / "index.html").read_text()


def test_a_flag_or_warning_stands_once_in_the_line_of_its_sequence_or_the_first(read, record):
    case = record(
        "a", 3.0, 2.0, 1.0,
        flags=flags_of({"coverage_T2": 0.5, "atlas_dice": 0.5}),
        warnings=(
            Remark(text="T1: slices of 6 mm", sequence="T1"),
            Remark(text="T1 and T2 seem to be swapped"),
            Remark(text="PD is left out", sequence="PD"),
        ),
    )  # fmt: skip
    t1, t2, last = case.maps
    joint = last.model_copy(update={"sequence": "joint"})
    page = read(case.model_copy(update={"maps": (t1, t2, joint)}))
    told = {row[2]: row[1] for row in page.rows}
    assert list(told) == ["joint", "T1", "T2"]
    for sequence, texts in {
        "joint": ("atlas_dice 0.5", "seem to be swapped", "PD is left out"),
        "T1": ("T1: slices of 6 mm",),
        "T2": ("coverage_T2 0.5",),
    }.items():
        for text in texts:
            assert [name for name, words in told.items() if text in words] == [sequence], text
    assert page.values("tr", "class") == ["flagged"] * 3, "a filter shows the case whole"


def test_nothing_is_fetched_and_only_its_own_style_and_script_count(read, tmp_path, record):
    page = read(record("a", 1.0))
    links = page.values("a", "href") + page.values("img", "src") + page.values("link", "href")
    assert not [link for link in links if "//" in link]
    (policy,) = [a["content"] for t, a in page.attributes if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'") and policy.count("'sha256-") == 2
    assert "unsafe" not in policy


def test_names_that_urls_do_not_take_are_quoted(read, record):
    page = read(record("é #1 %", 1.0))
    assert page.values("img", "src") == ["%C3%A9%20%231%20%25_T1.png"]
    assert page.rows[0][1].strip().startswith("é #1 %")


def test_a_picture_that_is_gone_is_said(read, tmp_path, record):
    read(record("a", 1.0))
    (tmp_path / "a_T1.png").unlink()
    page = Reader(write_page(tmp_path, [record("a", 1.0)], []).read_text())
    assert page.rows[0][0] == "no picture" and page.values("img", "src") == []


def test_where_there_are_maps_of_two_runs_each_names_its_own(read, record, model_names):
    other = model_names.model_copy(update={"run": "IXI/DAL__b/seed_1"})
    page = read(record("a", 2.0), record("b", 1.0, model=other))
    assert model_names.run in page.rows[0][1] and other.run in page.rows[1][1]


def test_maps_of_one_run_with_two_thresholds_are_of_two_models(read, record, model_names):
    """As of a run that was calibrated, or that was asked again with --threshold."""
    own = model_names.model_copy(update={"threshold_source": "of healthy cases"})
    again = model_names.model_copy(update={"model_sha256": "cd" * 32})
    page = read(
        record("a", 2.0), record("b", 1.0, model=own), record("c", 1.0, model=again),
        record("d", 1.0, model=own.model_copy()),
    )  # fmt: skip
    assert page.words.count("Threshold") == 3
    assert "of healthy cases" in page.words and "cdcdcdcdcdcd" in page.words


def test_without_a_case_it_is_still_a_page(read):
    page = read(failures=("case a: broken",))
    assert "No case was done" in page.words and "case a: broken" in page.words


def test_equal_records_give_equal_bytes(read, tmp_path, record):
    read(record("a", 1.0), record("b", 1.0))
    first = (tmp_path / "index.html").read_bytes()
    read(record("a", 1.0), record("b", 1.0))
    assert (tmp_path / "index.html").read_bytes() == first
