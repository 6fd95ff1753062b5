"""The page in a real browser, opened from disk: it loads, sorts, filters, and fits a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dal_auto.inference.remark import Remark

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def page(predicting, prepared, scans, tmp_path, browser) -> Any:
    """Three cases, their brightest middles of other sizes; one is odd, and one failed."""
    sizes = {"c10": 4, "c9": 10, "c2": 7}

    def prepare(task):
        case_id = task.case.case_id
        odd = (Remark(text="T1 and T2 look swapped"),) if case_id == "c2" else ()
        return prepared(task, blob=sizes[case_id], warnings=odd)

    predicting([*scans(*sizes, sequences=("T1",)), *scans("bad", sequences=("PD",))], prepare)
    browser.set_window_size(1366, 900)
    open_page(browser, tmp_path / "maps" / "index.html")
    return browser


def open_page(browser: Any, path: Path) -> None:
    browser.get(path.as_uri())


def cases(browser: Any) -> list[str]:
    shown = browser.find_elements("css selector", "tbody tr")
    return [row.find_element("css selector", "th strong").text for row in shown
            if row.is_displayed()]  # fmt: skip


def test_it_loads_without_a_complaint_the_largest_anomaly_first(page):
    assert page.get_log("browser") == []
    assert cases(page) == ["c9", "c2", "c10"]
    first = page.find_element("css selector", "tbody img")
    assert page.execute_script("return arguments[0].complete && arguments[0].naturalWidth", first)
    assert "bad" in page.find_element("css selector", "#failures").text


def test_headings_and_the_list_sort(page):
    case = page.find_element("css selector", "thead th:nth-child(2) button")
    case.click()
    assert cases(page) == ["c2", "c9", "c10"], "numbers in names count as numbers"
    case.send_keys("\ue007")  # Enter: by the keyboard, too
    assert cases(page) == ["c10", "c9", "c2"]
    sort = page.find_element("css selector", "thead th:nth-child(2)").get_attribute("aria-sort")
    assert sort == "descending"
    page.find_element("css selector", "#by option[value='3']").click()
    assert cases(page) == ["c9", "c2", "c10"]
    turn = page.find_element("css selector", "#turn")
    turn.click()
    assert cases(page) == ["c10", "c2", "c9"]
    page.find_element("css selector", "#by option[value='']").click()
    assert cases(page) == ["c9", "c2", "c10"] and not turn.is_enabled()


def test_what_is_typed_or_flagged_is_shown_alone(page):
    page.find_element("css selector", "#wanted").send_keys("C1")
    assert cases(page) == ["c10"]
    assert page.find_element("css selector", "#count").text == "1 of 3 shown"


def test_it_fits_a_phone_and_the_dark(page):
    light = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
        colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert colour != light
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
