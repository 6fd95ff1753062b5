"""The quality page: what it says, that nothing in it breaks it, and that a browser can use it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dal_auto.pages.pictures import ShownPicture, shown_picture
from dal_auto.preprocessing.quality.limits import Finding
from dal_auto.preprocessing.quality.page import CaseQuality, write_page

VOID = {"meta", "link", "img", "input", "br"}
EVIL = "s<b>&\"'#1 ü"


class Document(HTMLParser):
    """Tags, opened and closed in pairs, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def rows_of(text: str) -> list[str]:
    """Source of the rows of the cases."""
    body = re.search(r'<table class="stacks">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert body is not None
    return re.findall(r"<tr.*?</tr>", body[1], re.DOTALL)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Four cases: the first with a fixed limit broken, the second with the cohort's, one without a
    picture and with a name that is hard on HTML, CSS and URLs."""
    cases = ["a10", "a9", EVIL, "b1"]
    figures = pd.DataFrame(
        {
            "brain_ml": [500.0, 1400, 1300, 1350],
            "atlas_dice": [0.9, 0.85, 0.93, np.nan],
            "bias_T1": [0.02, 0.03, 0.01, 0.04],
            f"bias_{EVIL}": [0.01, 0.01, 0.01, 0.02],
            "bad_voxels": [0.0] * 4,
        },
        index=cases,
    )
    found = {
        "a10": [Finding("brain_ml", "limit", "brain_ml 500 outside 800 to 2200")],
        "a9": [Finding("atlas_dice", "cohort", "atlas_dice 0.85 (cohort: 0.9 or more)")],
    }
    rows = []
    for case in cases:
        file = tmp_path / "quality" / f"{case}.webp"
        if case != "b1":
            file.parent.mkdir(exist_ok=True)
            Image.new("RGB", (60, 40), "gray").save(file)
        picture = shown_picture(file, tmp_path / "quality.html", f"{case}: slices of T1")
        rows.append(CaseQuality(case, picture, found.get(case, [])))
    limits = {"atlas_dice": (0.9, np.inf)}
    path = tmp_path / "quality.html"
    write_page(path, "D & <D>", figures, limits, rows, ["case x: T1 is <truncated>", "case 'y'"])
    return path


def test_the_page_is_well_formed_and_holds_every_case_in_the_given_order(page):
    text = page.read_text(encoding="utf-8")
    Document(text)
    rows = rows_of(text)
    assert [re.findall(r"<span>(.*?)</span>", row)[0] for row in rows][:2] == ["a10", "a9"]
    assert len(rows) == 4
    assert all(row.count("<td") == 2 + 4 and row.count('<th scope="row">') == 1 for row in rows)
    assert "<title>D &amp; &lt;D&gt;: quality of 4 cases</title>" in text
    assert "<strong>4</strong> cases, <strong>2</strong> flagged, <strong>2</strong> failed" in text


def test_headings_can_be_sorted_by_from_the_keyboard_and_say_how_they_are(page):
    text = page.read_text(encoding="utf-8")
    head = re.search(r'<table class="stacks">.*?<thead>(.*?)</thead>', text, re.DOTALL)
    assert head is not None
    assert head[1].count('<button type="button"') == head[1].count("aria-sort=") == 2 + 4
    assert head[1].count('aria-sort="ascending"') == 1  # by rank, as it comes
    first = dict(
        re.findall(r'data-first="(\w+)" class="number"><button[^>]*>([^<]*)', head[1])[::-1]
    )
    assert first == {"ascending": "rank", "descending": "brain, ml"}
    assert re.search(r'data-first="ascending" class="number"><button[^>]*>Dice<', head[1])
    options = re.findall(r'<option value="(\d+)"', text)
    assert options == ["0", *map(str, range(2, 7))]


def test_flags_are_told_with_the_case_and_at_the_figure_and_not_by_colour_alone(page):
    text = page.read_text(encoding="utf-8")
    first, second, third, _ = rows_of(text)
    assert '<li class="limit">brain_ml 500 outside 800 to 2200</li>' in first
    assert '<td class="number limit">500</td>' in first
    assert '<td class="number cohort">0.850</td>' in second
    assert ['class="flagged"' in row for row in (first, second, third)] == [True, True, False]
    assert 'td.limit::after { content: " !"; } td.cohort::after { content: " ?"; }' in text


def test_pictures_are_small_files_beside_the_page_loaded_late_with_an_alternative(page):
    text = page.read_text(encoding="utf-8")
    images = [image for image in Document(text).of("img") if image.get("src")]
    assert len(images) == 3
    assert all(image["loading"] == "lazy" and image["alt"] for image in images)
    assert all((image["width"], image["height"]) == ("60", "40") for image in images)
    assert images[2]["src"] == "quality/s%3Cb%3E%26%22%27%231%20%C3%BC.webp"
    assert images[2]["alt"] == f"{EVIL}: slices of T1"
    assert "base64" not in text
    assert rows_of(text)[3].count("no picture") == 1


def test_nothing_comes_from_elsewhere(page):
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    addresses = [
        value
        for _, attributes in Document(text).tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data")
    ]
    assert all(address.startswith(("quality/", "data:,", "#")) for address in addresses)
    assert not [word for word in ("://", "@import", "url(") if word in text]


def test_names_cannot_break_out_of_html(page):
    text = page.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "s&lt;b&gt;&amp;&#34;&#39;#1 ü bias</button>" in text


def test_missing_values_are_dashes_and_numbers_have_the_figures_decimals(page):
    text = page.read_text(encoding="utf-8")
    rows = rows_of(text)
    assert '<td class="number">–</td>' in rows[3]
    assert re.findall(r'<td class="number">([\d.]+)</td>', rows[2])[-4:] == [
        "1300",
        "0.930",
        "0.010",
        "0.010",
    ]


def test_a_figure_that_is_the_same_in_all_cases_is_explained_but_has_no_column(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    assert '<th scope="row">bad voxels</th>' in text
    assert ">bad voxels</button>" not in text
    figures = pd.DataFrame({"bad_voxels": [2.0, 2.0]}, index=["a", "b"])
    found = [Finding("bad_voxels", "limit", "bad_voxels 2, not 0")]
    path = tmp_path / "other.html"
    for rows in (
        [CaseQuality("a", None, found), CaseQuality("b", None, found)],
        [CaseQuality("a", None, [])],
    ):
        write_page(path, "D", figures[: len(rows)], {}, rows, [])
        assert ">bad voxels</button>" in path.read_text(encoding="utf-8")


def test_failures_and_limits_are_listed(page):
    text = page.read_text(encoding="utf-8")
    assert "<li>case x: T1 is &lt;truncated&gt;</li>" in text
    explained = re.findall(r'<tr><th scope="row">Dice</th>(.*?)</tr>', text)[0]
    cells = re.findall(r"<td>(.*?)</td>", explained)
    assert cells[0] == "atlas_dice"
    assert cells[2:] == ["0.900", "0.8 to 1", "0.9 or more", "1"]


def test_a_page_without_cases_is_a_page(tmp_path):
    path = tmp_path / "quality.html"
    write_page(path, "D", pd.DataFrame(), {}, [], ["case a: empty"])
    text = path.read_text()
    Document(text)
    assert "No case was preprocessed" in text
    assert "<li>case a: empty</li>" in text


def test_equal_cases_give_an_equal_page_and_a_thousand_rows_are_light(tmp_path):
    cases = [f"BraTS2021_{number:05d}" for number in range(1251)]
    names = ["brain_ml", "atlas_dice", "leak_share", "brain_outside_share", "atlas_correlation_T1"]
    names += ["atlas_nmi_T2", "alignment_mm_T2", "alignment_nmi_T2", "bias_T1", "bias_T2"]
    values = np.random.default_rng(0).uniform(size=(len(cases), len(names)))
    figures = pd.DataFrame(values, index=cases, columns=names)
    pictures = [
        ShownPicture(f"quality/{case}.webp", 500, 590, f"{case}: slices of T1, T2")
        for case in cases
    ]
    rows = [CaseQuality(*pair, []) for pair in zip(cases, pictures, strict=True)]
    pages = []
    for name in ("one.html", "two.html"):
        write_page(tmp_path / name, "BraTS-GLI", figures, {}, rows, [])
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < 1_000_000


def shown(browser: Any) -> list[str]:
    script = """return [...document.querySelectorAll("table.stacks tbody tr")]
        .filter(row => row.checkVisibility()).map(row => row.cells[2].firstElementChild.textContent)
    """
    return list(browser.execute_script(script))


def element(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


@pytest.mark.slow
@pytest.mark.long
def test_a_browser_shows_the_page_without_a_complaint_and_loads_its_pictures(browser, page):
    browser.get(page.as_uri())
    assert shown(browser) == ["a10", "a9", EVIL, "b1"]
    script = """const done = arguments[0];
        const images = [...document.querySelectorAll("table.stacks img")];
        Promise.all(images.map(image => { image.loading = "eager"; return image.decode(); }))
            .then(() => done(images.map(image => image.naturalWidth)), error => done(`${error}`));
    """
    assert browser.execute_async_script(script) == [60, 60, 60]
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.long
def test_a_browser_sorts_by_click_by_key_and_by_the_list(browser, page):
    browser.get(page.as_uri())
    headings = browser.find_elements("css selector", "table.stacks thead th")
    buttons = {
        button.text.split("\n")[0].rstrip(" ↕↑↓\u00a0"): button
        for button in browser.find_elements("css selector", "table.stacks thead button")
    }
    buttons["Dice"].click()  # low is bad, missing is last
    assert shown(browser) == ["a9", "a10", EVIL, "b1"]
    assert headings[4].get_attribute("aria-sort") == "ascending"
    assert headings[0].get_attribute("aria-sort") == "none"
    buttons["Dice"].send_keys("\ue007")  # Enter
    assert shown(browser) == [EVIL, "a10", "a9", "b1"]
    assert headings[4].get_attribute("aria-sort") == "descending"
    buttons["case"].click()
    assert shown(browser)[:2] == ["a9", "a10"]  # as numbers
    select = element(browser, "#by")
    assert select.get_attribute("value") == "2"
    select.send_keys("T1 bias")
    assert shown(browser) == ["b1", "a9", "a10", EVIL]
    element(browser, "#turn").click()
    assert shown(browser) == [EVIL, "a10", "a9", "b1"]
    buttons["rank"].click()
    assert shown(browser) == ["a10", "a9", EVIL, "b1"]
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.long
def test_a_browser_filters_by_id_and_by_flags(browser, page):
    browser.get(page.as_uri())
    element(browser, "#wanted").send_keys("A")
    assert shown(browser) == ["a10", "a9"]
    assert element(browser, "#count").text == "2 of 4 shown"
    element(browser, "#wanted").clear()
    element(browser, "#flagged").click()
    assert shown(browser) == ["a10", "a9"]
    element(browser, "#wanted").send_keys("9")
    assert shown(browser) == ["a9"]
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.long
def test_a_browser_enlarges_a_picture_and_walks_through_them(browser, page):
    browser.get(page.as_uri())
    dialog = element(browser, "dialog")
    assert not dialog.is_displayed()
    element(browser, "table.stacks tbody a").send_keys("\ue007")
    assert dialog.is_displayed()
    assert element(browser, "#shown").text == "a10"
    assert "brain_ml 500" in dialog.text
    element(browser, "#next").send_keys("\ue014")  # arrow to the right
    assert element(browser, "#shown").text == "a9"
    element(browser, "#previous").click()
    assert element(browser, "dialog img").get_attribute("src").endswith("quality/a10.webp")
    element(browser, "#close").click()
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element.get_attribute("href").endswith("a10.webp")
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling_and_labels_every_figure(browser, page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        script = """return getComputedStyle(document.querySelector(
            "table.stacks tbody td:nth-child(5)"), "::before").content"""
        assert browser.execute_script(script) == '"Dice"'
        assert shown(browser) == ["a10", "a9", EVIL, "b1"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
