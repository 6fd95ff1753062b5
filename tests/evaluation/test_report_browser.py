"""The report in a real browser: it loads without a complaint, sorts, draws, and follows the slider.

Everything is opened from disk, as a reader would.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.case import StandardCase
from dal_auto.evaluation.pictures.volumes import read_volumes, take_volumes, write_volumes
from dal_auto.evaluation.report.page import CaseVolumes, Picture, Report, write_report
from dal_auto.figures.png import save_png
from dal_auto.inference.predictor import Prediction
from dal_auto.store.kept import Origin
from dal_auto.store.run_identity import RunGroup, RunIdentity

pytestmark = [pytest.mark.slow, pytest.mark.long]

RUN = RunIdentity(RunGroup("IXI", "DAL", "demo", "robust"), 0)
SHAPE = (40, 50, 30)
PRACTICAL = 0.3
ENTER, RIGHT, UP, PAGE_UP, BACKSPACE = "\ue007", "\ue014", "\ue013", "\ue00e", "\ue003"


def drawn_case(make: SimpleNamespace) -> tuple[StandardCase, Prediction]:
    """A ball, with a lesion on its left side; the score fills a larger block and fades."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    brain = x**2 + y**2 + z**2 < 0.9
    lesion = np.zeros(SHAPE, bool)
    lesion[26:32, 20:30, 12:20] = True
    score = np.zeros(SHAPE, np.float32)
    score[22:36, 16:34, 8:24] = 0.2
    score[26:32, 20:30, 12:20] = 0.4
    score[28:30, 24:26, 15:17] = 0.8
    case = make.bare_case(brain, lesion, case_id="c0")
    return case, Prediction(brain * (0.5 + 0.2 * x + 0.15 * y - 0.1 * z), {"": score}, brain * 0.3)


@pytest.fixture(scope="module")
def site(make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four cases, two of which have a viewer."""
    folder = tmp_path_factory.mktemp("site")
    case, prediction = drawn_case(make)
    write_volumes(folder / "v.npz", take_volumes(case, prediction, "", Origin(model="m", case="c")))
    save_png(Figure(figsize=(4, 3)), folder / "panel.png")
    precision = {"c0": 9.0, "c10": 20.0, "c9": 100.0, "healthy": float("nan")}
    row = {"dataset": "A", "sequence": "T1", "method": "DAL", "seed": 0, "run": RUN}
    results = [row | {"cases": 4, "AP": 40.0, "DSC": 35.0, "practical threshold": PRACTICAL}]
    results += [one | {"dataset": "B", "AP": 5.0} for one in results]
    results += [one | {"dataset": "C", "AP": float("nan")} for one in results[:1]]
    report = Report(
        title="Report",
        labels={RUN.group: "DAL"},
        intro=["An introduction."],
        simulated=False,
        verdicts=["DAL beats mean-brain."],
        results=pd.DataFrame(results),
        cases=pd.DataFrame([row | {"case": c, "AP": ap} for c, ap in precision.items()]),
        pictures=[
            Picture(folder / "panel.png", "Panel", "A", name, "T1", RUN) for name in precision
        ],
        plans=[("a.key", "a value " * 20, "ours: because")],
        versions={"torch": "2"},
        failures=[],
        methods_paragraph="What was done.",
        limits=["Atrophy."],
        volumes=[
            CaseVolumes(folder / "v.npz", "A", name, "T1", "DAL", RUN) for name in ("c0", "c9")
        ],
        shown=[RUN],
    )
    write_report(report, folder / "report" / "index.html")
    return folder / "report"


def element(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def wait_for(browser: Any, condition: Callable[[Any], object]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(condition)


def case_page(site: Path, name: str = "c0") -> str:
    (page,) = (site / "cases").rglob(f"{name}_*.html")
    return page.as_uri()


@pytest.fixture
def viewer(browser: Any, site: Path) -> Any:
    """The browser at the page of c0, with its planes drawn."""
    browser.get(case_page(site))
    wait_for(browser, lambda b: element(b, "#tools").is_displayed())
    settle(browser)
    return browser


def settle(browser: Any) -> None:
    """Wait until what was asked for has been drawn."""
    browser.execute_async_script(
        "const done = arguments[0];"
        "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)));"
    )


def pixels(browser: Any, plane: str) -> np.ndarray:
    """(row, column, RGBA) of a plane as it is drawn."""
    settle(browser)
    width, height, values = browser.execute_script(
        """const canvas = document.getElementById(arguments[0]);
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const letters = Array.from(image.data, value => String.fromCharCode(value));
        return [canvas.width, canvas.height, btoa(letters.join(""))];
        """,
        plane,
    )
    return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4).astype(int)


def coloured(picture: np.ndarray) -> int:
    """Pixels that are red rather than grey: those of the anomaly map."""
    return int((picture[..., 0] - picture[..., 2] > 40).sum())


def blue(picture: np.ndarray) -> int:
    """Pixels of the lesion's outline."""
    return int((picture[..., 2] - picture[..., 0] > 60).sum())


def set_slider(browser: Any, name: str, value: int) -> None:
    browser.execute_script(
        """const slider = document.getElementById(arguments[0]);
        slider.value = arguments[1];
        slider.dispatchEvent(new Event("input", { bubbles: true }));""",
        name,
        value,
    )
    settle(browser)


def places(browser: Any) -> list[int]:
    settle(browser)
    return [int(element(browser, f"#is{axis}").text) for axis in range(3)]


def test_all_pages_load_without_a_complaint_and_with_their_pictures(browser, site):
    browser.get_log("browser")
    for path in sorted(site.rglob("*.html")):
        browser.get(path.as_uri())
        widths = browser.execute_async_script(
            """const done = arguments[0];
            const images = [...document.querySelectorAll("main img")];
            Promise.all(images.map(image => { image.loading = "eager"; return image.decode(); }))
                .then(() => done(images.map(image => image.naturalWidth)), e => done(`${e}`));"""
        )
        assert isinstance(widths, list) and all(width == 400 for width in widths), path
        if "cases" in str(path):
            wait_for(browser, lambda b: element(b, "#tools").is_displayed())
        settle(browser)
        assert browser.get_log("browser") == [], path


def test_tables_sort_by_click_and_by_key(browser, site):
    browser.get((site / "index.html").as_uri())
    headings = browser.find_elements("css selector", "#results thead th")

    def order() -> list[str]:
        cells = browser.find_elements("css selector", "#results tbody th")
        return [cell.text for cell in cells]

    assert order() == ["A", "B", "C"]
    precision = headings[3].find_element("css selector", "button")
    assert precision.text.startswith("DAL AP")
    precision.click()
    assert order() == ["A", "B", "C"]
    assert [h.get_attribute("aria-sort") for h in headings[:5]] == [
        *("none", "none", "none", "descending", "none"),
    ]
    precision.send_keys(ENTER)
    assert order() == ["B", "A", "C"], "what is missing stays last"
    assert headings[3].get_attribute("aria-sort") == "ascending"
    headings[0].find_element("css selector", "button").send_keys(" ")
    assert order() == ["A", "B", "C"]
    assert headings[3].get_attribute("aria-sort") == "none"


def test_cases_sort_as_numbers_and_can_be_searched(browser, site):
    browser.get((site / "datasets" / "A.html").as_uri())

    def order() -> list[str]:
        cells = browser.find_elements("css selector", "#cases tbody th")
        return [cell.text for cell in cells if cell.is_displayed()]

    assert order() == ["c0", "c10", "c9", "healthy"]
    element(browser, "#cases thead th:nth-child(2) button").click()
    assert order() == ["c0", "c9", "c10", "healthy"]
    element(browser, "#cases input").send_keys("C1")
    assert order() == ["c10"]
    assert element(browser, "#cases output").text == "1 of 4 shown"
    element(browser, "#cases input").send_keys(BACKSPACE * 2)
    assert len(order()) == 4
    element(browser, "#cases tbody a").click()
    assert "/cases/A/" in browser.current_url


def test_the_viewer_draws_the_volumes_that_were_put_in(viewer, site, make):
    assert not element(viewer, "#state").is_displayed()
    element(viewer, "#cross").click()
    for name in ("over", "outline"):
        element(viewer, f"#{name}").click()
    case, prediction = drawn_case(make)
    at = places(viewer)
    kept = read_volumes(site.parent / "v.npz")
    box = tuple(slice(o, o + n) for o, n in zip(kept.origin, kept.shape, strict=True))
    image = 255 * prediction.image[box]
    x, y, z = (place - start for place, start in zip(at, kept.origin, strict=True))
    # Radiological: the patient's right on the left, the front on top or on the left.
    cuts = {"axial": image[:, :, z].T, "coronal": image[:, y].T[::-1], "sagittal": image[x].T[::-1]}
    for plane, cut in cuts.items():
        picture = pixels(viewer, plane)
        assert coloured(picture) == blue(picture) == 0
        scale = picture.shape[1] / cut.shape[1]
        rows, columns = (np.int64((np.arange(n) + 0.5) * scale) for n in cut.shape)
        drawn = picture[np.ix_(rows, columns)][..., 0]
        inside = cut > 0
        assert np.ptp(drawn) > 100, "not blank"
        assert np.median(np.abs(drawn - cut)[inside]) < 3
        assert np.corrcoef(drawn[inside], cut[inside])[0, 1] > 0.9
    assert case.lesion_mask[tuple(at)], "it starts in the lesion"


def test_the_threshold_changes_the_overlay_and_its_figures(viewer):
    # It starts at the practical threshold: the lesion's own block.
    assert float(element(viewer, "#cut").text) == pytest.approx(PRACTICAL, abs=0.01)
    at_first = pixels(viewer, "axial")
    assert coloured(at_first) > 100
    said = element(viewer, "#marked").text
    assert "0.5 ml" in said and "100.0 % of the lesion" in said and "DSC 100.0 %" in said
    set_slider(viewer, "threshold", 1)
    lower = pixels(viewer, "axial")
    assert coloured(lower) > 2 * coloured(at_first)
    # 14·18·16 voxels are marked, of which 6·10·8 are the lesion.
    dice = 100 * 2 * 480 / (480 + 4032)
    assert f"4.0 ml are marked: 100.0 % of the lesion, DSC {dice:.1f} %" in (
        element(viewer, "#marked").text
    )
    element(viewer, "#threshold").send_keys(RIGHT * 250)  # by keyboard, to the top
    higher = pixels(viewer, "axial")
    assert 0 < coloured(higher) < coloured(at_first)
    set_slider(viewer, "threshold", 256)
    assert coloured(pixels(viewer, "axial")) == 0
    assert "0.0 ml" in element(viewer, "#marked").text
    element(viewer, "#known button").click()
    assert np.array_equal(pixels(viewer, "axial"), at_first)
    set_slider(viewer, "opacity", 0)
    assert coloured(pixels(viewer, "axial")) == 0


def test_layers_can_be_switched(viewer):
    first = pixels(viewer, "axial")
    assert blue(first) > 50
    element(viewer, "#outline").click()
    assert blue(pixels(viewer, "axial")) == 0
    element(viewer, "#over").click()
    assert coloured(pixels(viewer, "axial")) == 0
    grey = pixels(viewer, "axial")
    element(viewer, "input[value=pseudo-healthy]").click()
    healthy = pixels(viewer, "axial")
    middle = tuple(n // 3 for n in healthy.shape[:2])
    assert healthy[middle][0] == pytest.approx(0.3 * 255, abs=3)
    element(viewer, "input[value=anomaly]").click()
    assert coloured(pixels(viewer, "axial")) > 200
    element(viewer, "input[value=input]").click()
    assert np.array_equal(pixels(viewer, "axial"), grey)
    element(viewer, "#axial").send_keys("b")
    assert np.array_equal(pixels(viewer, "axial"), healthy)


def test_the_crosshair_follows_keys_pointer_and_sliders(viewer):
    start = places(viewer)
    axial = element(viewer, "#axial")
    axial.send_keys(RIGHT)
    assert places(viewer) == [start[0] + 1, start[1], start[2]]
    axial.send_keys(UP)  # to the front
    assert places(viewer) == [start[0] + 1, start[1] - 1, start[2]]
    axial.send_keys(PAGE_UP)
    assert places(viewer) == [start[0] + 1, start[1] - 1, start[2] + 1]
    element(viewer, "#coronal").send_keys(UP)  # upwards
    assert places(viewer) == [start[0] + 1, start[1] - 1, start[2] + 2]
    assert "outside" not in element(viewer, "#values").text
    element(viewer, "#at0").send_keys("\ue011")  # Home
    assert places(viewer)[0] < start[0] - 10
    assert "outside the lesion mask" in element(viewer, "#values").text
    assert "score 0" in element(viewer, "#values").text
    element(viewer, "#to-start").click()
    assert places(viewer) == start
    sagittal = element(viewer, "#sagittal")
    sagittal.click()  # its middle
    moved = places(viewer)
    assert moved[0] == start[0] and moved[1:] != start[1:]
    element(viewer, "#to-highest").click()
    assert places(viewer) == [28, 24, 15]
    assert "score 0.800" in element(viewer, "#values").text
    label = axial.get_attribute("aria-label")
    assert label.startswith("axial plane, slice ") and "lesion mask outlined" in label


def test_without_what_unpacks_volumes_the_picture_remains(browser, site):
    script = "delete window.DecompressionStream;"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.get(case_page(site))
        wait_for(browser, lambda b: "cannot be shown" in element(b, "#state").text)
        assert not element(browser, "#tools").is_displayed()
        assert element(browser, "#picture img").is_displayed()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(browser, site, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for page in sorted(site.rglob("*.html")):
            browser.get(page.as_uri())
            settle(browser)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, page
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(browser, site, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    script = """
        const number = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => {
          const part = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
          return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
        };
        const ground = element => {
          for (let e = element; e; e = e.parentElement) {
            const colour = number(getComputedStyle(e).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
          }
          return [255, 255, 255];
        };
        const bad = [];
        for (const element of document.querySelectorAll("body *")) {
          const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
          if (!own || !element.checkVisibility() || element.matches("script, style")) continue;
          const [a, b] = [light(number(getComputedStyle(element).color)), light(ground(element))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < 4.5) bad.push([element.outerHTML.slice(0, 80), ratio]);
        }
        return [bad, light(ground(document.body))];"""
    try:
        for page in sorted(site.rglob("*.html"))[:4]:
            browser.get(page.as_uri())
            settle(browser)
            bad, ground = browser.execute_script(script)
            assert bad == [], page
            assert (ground > 0.5) == (scheme == "light")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
