"""The report is a folder that loads nothing from elsewhere, escapes everything, hides no gap."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.evaluation.pictures.volumes import Volumes, write_volumes
from dal_auto.evaluation.report.page import CaseVolumes, Picture, Report, write_report
from dal_auto.figures.png import save_png
from dal_auto.store.kept import Origin
from dal_auto.store.run_identity import RunGroup, RunIdentity

VOID = {"meta", "img", "br", "link", "hr", "input"}
EVIL = '<script>alert("x")</script>'
GROUP = RunGroup("IXI", "DAL", "demo", "robust")
RUN, SECOND = RunIdentity(GROUP, 0), RunIdentity(GROUP, 1)
BASE = RunIdentity(dataclasses.replace(GROUP, method="mean-brain"), 0)
NAN = float("nan")


class Page(HTMLParser):
    """Tags with their attributes, cells of tables, and whether every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.cells: list[list[dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": []}
        self.text = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.cells.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cells[-1].append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]].append(data)
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            joined = " " if self.open[-1] == "small" else ""
            self.rows[-1][-1] += joined + data.strip()

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def cell(self, row: list[str], column: int) -> dict[str, str | None]:
        """Attributes of a cell, found by the text of its row."""
        return self.cells[self.rows.index(row)][column]

    def target(self, url: str) -> Path:
        """The file that a link of this page leads to."""
        return (self.path.parent / unquote(urlsplit(url).path)).resolve()


def case_row(case: str, ap: float, dataset: str = "A", run: RunIdentity = RUN) -> dict[str, object]:
    method = run.group.method
    names = {"dataset": dataset, "case": case, "sequence": "T1", "method": method, "seed": 0}
    return names | {"lesion ml": 3.5, "AP": ap, "DSC": 50.0, "FP": 2, "run": run}


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Dataset A with eight cases of a run and one of a baseline; B with one case."""
    elsewhere = tmp_path / "runs"
    for name in ("c1", "c2", "b1", "baseline"):
        save_png(Figure(figsize=(1 + len(name) / 9, 1)), elsewhere / f"{name}.png")
    for name in ("all", "of A"):
        save_png(Figure(figsize=(2, 1)), tmp_path / "report" / "figures" / f"{name}.png")
    (tmp_path / "report" / "figures" / "of A.svg").write_text("<svg/>")
    figures = tmp_path / "report" / "figures"
    rng = np.random.default_rng(0)
    layers = {
        name: zlib.compress(rng.integers(0, high, 60, np.uint8).tobytes())
        for name, high in {"input": 255, "pseudo-healthy": 255, "anomaly": 255, "lesion": 2}.items()
    }
    for name in ("c0", "c1", "c3", "c7"):
        volumes = Volumes(
            shape=(3, 4, 5),
            origin=(10, 20, 30),
            start=(1, 2, 3),
            highest=0.5,
            layers=layers,
            made_from=Origin(model="m", case="c"),
        )
        write_volumes(elsewhere / f"{name}.npz", volumes)
    methods = ["DAL", "DAL", "mean-brain"]
    results = pd.DataFrame(
        {
            "dataset": ["A"] * 6 + ["B"],
            "sequence": ["T1"] * 3 + ["T2"] * 3 + ["T1"],
            "method": [*methods, *methods, "DAL"],
            "seed": [0, 1, 0, 0, 1, 0, 0],
            "variant": "",
            "cases": [8, 8, 8, 8, 8, 8, 1],
            "AP": [41.99, 43.99, 30.0, 54.94, 54.94, 54.941, 7.0],
            "AP low": [40.0, 41.0, NAN, 50.0, 50.0, 50.0, 6.0],
            "AP high": [44.0, 45.0, NAN, 60.0, 60.0, 60.0, 8.0],
            "DSC": [NAN, NAN, 20.0, 30.0, 10.0, 5.0, 7.0],
            "RE_N": [0.00001, 0.5, 0.25, NAN, NAN, NAN, NAN],
            "threshold": [0.3, 0.2, 0.1, 0.2, 0.2, 0.2, NAN],
            "practical threshold": [0.25, NAN, NAN, NAN, NAN, NAN, NAN],
            "run": [RUN, SECOND, BASE, RUN, SECOND, BASE, RUN],
        }
    )
    cases = [case_row(f"c{i}", 10.0 * i) for i in range(8)]
    cases += [case_row("healthy", NAN), case_row("b1", 7.0, "B")]
    cases += [case_row("c1", 99.0, run=BASE), case_row("c1", 98.0, run=SECOND)]
    return Report(
        title="Title of the report",
        intro=["First paragraph."],
        simulated=True,
        verdicts=["DAL does not beat mean-brain on T2."],
        results=results,
        cases=pd.DataFrame(cases),
        pictures=[
            Picture(figures / "all.png", "Boxes"),
            Picture(figures / "of A.png", "Curves", "A"),
            Picture(elsewhere / "baseline.png", "Panel", "A", "c1", "T1", BASE),
            Picture(elsewhere / "c1.png", "Panel", "A", "c1", "T1", RUN),
            Picture(elsewhere / "c2.png", "Panel", "A", "c2", "T1", RUN),
            Picture(elsewhere / "b1.png", "Panel", "B", "b1", "T1", RUN),
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
        methods_paragraph="Images were corrected with N4 (Tustison et al. 2010).",
        limits=["Mass effect and atrophy (§5.4)."],
        volumes=[
            CaseVolumes(elsewhere / f"{name}.npz", "A", name, "T1", "DAL", RUN)
            for name in ("c0", "c1", "c3", "c7")
        ],
        shown=[RUN],
        labels={GROUP: "DAL", BASE.group: "mean-brain"},
        left_out=pd.DataFrame({"dataset": ["A"], "case": ["x9"], "reason": ["it is in B too"]}),
        files=["manifest.json", "results.csv"],
    )


def pages_of(report: Report, tmp_path: Path) -> dict[str, Page]:
    """Pages by their path within the folder."""
    folder = tmp_path / "report"
    for name in report.files:
        (folder / name).write_text("")
    written = write_report(report, folder / "index.html")
    assert sorted(written) == sorted(folder.rglob("*.html"))
    return {path.relative_to(folder).as_posix(): Page(path) for path in written}


def case_pages(pages: dict[str, Page]) -> dict[str, Page]:
    """Case → its page."""
    found = {name: page for name, page in pages.items() if name.startswith("cases/")}
    return {Path(name).name.split("_")[0]: page for name, page in found.items()}


def test_every_page_is_well_formed_and_loads_nothing_from_elsewhere(report, tmp_path):
    for page in pages_of(report, tmp_path).values():
        assert page.open == []
        for tag, attributes in page.tags:
            assert tag not in ("iframe", "object", "embed", "base", "form")
            assert not any(name.startswith("on") or name == "style" for name in attributes)
            for name in ("src", "srcset", "poster", "data", "action"):
                assert not urlsplit(attributes.get(name) or "").scheme
            if tag == "link":
                assert attributes["href"] == "data:,"
            elif tag == "a":
                assert not urlsplit(attributes["href"]).scheme
        code = "".join(page.texts["style"] + page.texts["script"])
        assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest|import\(", code)


def test_the_policy_lets_nothing_in_but_this_style_and_script(report, tmp_path):
    for page in pages_of(report, tmp_path).values():
        (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv")]
        assert policy.startswith("default-src 'none'; img-src 'self' file: data:;")
        assert "unsafe" not in policy and "http" not in policy
        (style,) = page.texts["style"]
        script = page.texts["script"][-1]
        for code in (style, script):
            digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        # All others are data.
        kinds = [one.get("type") for one in page.named("script")]
        assert kinds[-1] is None and None not in kinds[:-1]


def test_every_link_and_picture_is_there(report, tmp_path):
    pages = pages_of(report, tmp_path)
    folder = (tmp_path / "report").resolve()
    ids = {
        page.path.resolve(): {a["id"] for _, a in page.tags if "id" in a} for page in pages.values()
    }
    for page in pages.values():
        links = [a["href"] for a in page.named("a")] + [i["src"] for i in page.named("img")]
        for link in links:
            target = page.target(link) if urlsplit(link).path else page.path.resolve()
            assert target.is_file() and target.is_relative_to(folder), link
            assert not urlsplit(link).fragment or urlsplit(link).fragment in ids[target]
        for image in page.named("img"):
            assert image["alt"] and image["loading"] == "lazy"
            assert int(image["width"]) > 0 and int(image["height"]) > 0


def test_pictures_are_those_of_the_shown_run_linked_into_the_folder(report, tmp_path):
    pages = pages_of(report, tmp_path)
    there = sorted((tmp_path / "report" / "pictures").rglob("*.png"))
    originals = [picture.path for picture in report.pictures[3:]]
    assert sorted(p.read_bytes() for p in there) == sorted(p.read_bytes() for p in originals)
    assert {path.stat().st_ino for path in there} == {p.stat().st_ino for p in originals}
    page = pages["datasets/A.html"]
    alternatives = [image["alt"] for image in page.named("img")]
    assert alternatives.count("Panel (DAL, T1, c1, A)") == 1
    assert "Curves (A)" in alternatives and "Boxes ()" not in alternatives
    assert any("of%20A.svg" in a["href"] for a in page.named("a"))


def test_of_an_earlier_report_nothing_stays(report, tmp_path):
    before = set(pages_of(report, tmp_path))
    fewer = dataclasses.replace(
        report,
        volumes=report.volumes[:1],
        pictures=report.pictures[:3],
        cases=report.cases[report.cases["dataset"] == "A"],
        results=report.results[report.results["dataset"] == "A"],
    )
    after = set(pages_of(fewer, tmp_path))
    assert before - after == {
        "datasets/B.html",
        *(name for name in before if re.match(r"cases/A/c[137]_", name)),
    }
    assert not list((tmp_path / "report" / "pictures").rglob("*"))
    assert (tmp_path / "report" / "figures" / "all.png").is_file(), "that folder is another's"


def test_worst_and_best_have_a_page_that_holds_their_volumes(report, tmp_path):
    pages = case_pages(pages_of(report, tmp_path))
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


def test_the_dataset_leads_to_viewers_and_pictures(report, tmp_path):
    pages = pages_of(report, tmp_path)
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


def test_volumes_or_pictures_that_cannot_be_read_are_not_fatal(report, tmp_path):
    report.volumes[0].path.write_bytes(b"spoilt")
    report.volumes[1].path.unlink()
    for picture in report.pictures:
        picture.path.unlink()
    pages = pages_of(report, tmp_path)
    assert list(case_pages(pages)) == ["c7"]
    page = pages["datasets/A.html"]
    assert page.named("img") == []
    for name in ("c1.png", "c2.png", "of A.png"):
        assert f"The picture {name} is missing." in page.text
    assert "The picture all.png is missing." in pages["index.html"].text


def test_everything_that_was_given_is_inert_text(report, tmp_path):
    evil = case_row(EVIL, 1.0, EVIL) | {EVIL: EVIL, "sequence": EVIL, "method": EVIL}
    volumes = dataclasses.replace(
        report.volumes[0], dataset=EVIL, case_id=EVIL, sequence=EVIL, method=EVIL
    )
    panel = dataclasses.replace(
        report.pictures[3],
        caption='" onerror="x',
        dataset=EVIL,
        case_id=EVIL,
        sequence=EVIL,
    )
    report = dataclasses.replace(
        report,
        title=EVIL,
        intro=[EVIL],
        verdicts=[EVIL] * 8,
        results=pd.DataFrame([evil | {"threshold": 0.1}]),
        cases=pd.DataFrame([evil]),
        pictures=[panel, dataclasses.replace(panel, case_id=""), report.pictures[0]],
        volumes=[volumes],
        plans=[(EVIL, EVIL, EVIL), ("key", "value", f"ours: {EVIL}")],
        versions={EVIL: EVIL},
        failures=[EVIL],
        methods_paragraph=EVIL,
        limits=[EVIL],
        labels={GROUP: EVIL},
        left_out=pd.DataFrame({"dataset": [EVIL], "case": [EVIL], "reason": [EVIL]}),
        files=[],
    )
    pages = pages_of(report, tmp_path)
    assert len(pages) == 3
    for page in pages.values():
        assert page.open == []
        code = [one for one in page.named("script") if one.get("type") is None]
        assert len(code) == 1 and page.text.count(EVIL) >= 6
        assert all("onerror" not in attributes for _, attributes in page.tags)
        assert page.path.resolve().is_relative_to((tmp_path / "report").resolve())
    assert pages["index.html"].text.count(EVIL) >= 20


def test_the_overview_compares_methods_by_their_means_over_seeds(report, tmp_path):
    page = pages_of(report, tmp_path)["index.html"]
    head, first, second, third = page.rows[:4]
    assert head == [
        *("dataset", "sequence", "cases"),
        *("DAL AP", "DAL DSC", "mean-brain AP", "mean-brain DSC"),
    ]
    assert first == ["A", "T1", "8", "43.0 ± 1.4", "–", "30.0", "20.0"]
    assert second == ["A", "T2", "8", "54.9 ± 0.0", "20.0 ± 14.1", "54.9", "5.0"]
    assert third == ["B", "T1", "1", "7.0", "7.0", "–", "–"]
    assert float(page.cell(first, 3)["data-value"]) == pytest.approx(42.99)

    def best(row: list[str]) -> list[int]:
        return [i for i in range(7) if "best" in (page.cell(row, i).get("class") or "")]

    # What looks equal is equal.
    assert (best(first), best(second), best(third)) == ([3], [3, 4, 5], [])
    assert page.target(page.named("a")[-1]["href"])  # links resolve, see above


def test_ablations_have_no_column(report, tmp_path):
    only = dataclasses.replace(report, labels={GROUP: "ours"})
    assert pages_of(only, tmp_path)["index.html"].rows[0][3:] == ["ours AP", "ours DSC"]


def test_numbers_share_decimals_carry_intervals_and_mark_the_best(report, tmp_path):
    page = pages_of(report, tmp_path)["datasets/A.html"]
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


def test_headings_of_tables_are_buttons_that_state_their_order(report, tmp_path):
    for name, page in pages_of(report, tmp_path).items():
        headings = [th for th in page.named("th") if "aria-sort" in th]
        if not name.startswith("cases/"):
            assert headings and len(headings) == len(page.named("button"))
        assert {th["scope"] for th in page.named("th")} <= {"col", "row"}
        for region in (d for d in page.named("div") if d.get("role") == "region"):
            assert region["tabindex"] == "0" and region["aria-label"]


def test_every_page_says_what_it_is_not(report, tmp_path):
    for name, page in pages_of(report, tmp_path).items():
        assert "Simulated data." in page.text
        assert "Research tool, not for diagnosis" in page.text
        assert any(a["href"].endswith("#limits") for a in page.named("a")), name
        assert "2.4.1" in page.text
    real = pages_of(dataclasses.replace(report, simulated=False), tmp_path)
    assert all("Simulated data" not in page.text for page in real.values())
    page = real["index.html"]
    for sentence in (*report.verdicts, *report.limits, *report.intro, report.methods_paragraph):
        assert sentence in page.text
    assert "N4ITK" in page.text, "what is cited is named in full"
    assert "SRI24" not in page.text, "what is not cited is not"
    assert "seconds and memory" in page.text


def test_sources_of_plans_wear_a_badge_with_a_word(report, tmp_path):
    page = pages_of(report, tmp_path)["index.html"]
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
    pages = pages_of(empty, tmp_path / "new")
    page = pages["index.html"]
    assert list(pages) == ["index.html"] and page.named("table") == []
    sections = len(page.named("section")) + len(page.named("footer"))
    assert page.source.count('class="empty"') == sections


def test_failures_are_listed_or_none(report, tmp_path):
    assert "None." in pages_of(report, tmp_path)["index.html"].text
    failed = dataclasses.replace(report, failures=["case 7 failed"])
    page = pages_of(failed, tmp_path)["index.html"]
    assert "case 7 failed" in page.text and "None." not in page.text
    assert "Failures (1)" in page.text


def test_equal_reports_give_equal_bytes(report, tmp_path):
    first = {name: page.source for name, page in pages_of(report, tmp_path).items()}
    assert first == {name: page.source for name, page in pages_of(report, tmp_path).items()}


def test_pages_stay_light_for_a_thousand_cases(report, tmp_path):
    cases = pd.DataFrame([case_row(f"BraTS-GLI-{i:05d}-000", i / 12.5) for i in range(1251)])
    many = dataclasses.replace(report, cases=pd.concat([cases, cases.assign(sequence="T2")]))
    page = pages_of(many, tmp_path)["datasets/A.html"]
    assert len(page.source.encode()) < 1_000_000
    assert len([row for row in page.rows if row and row[0].startswith("BraTS")]) == 2502
