"""The report is a folder that loads nothing from elsewhere, escapes everything, hides no gap."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

EVIL = '<script>alert("x")</script>'


def test_every_page_is_well_formed_and_loads_nothing_from_elsewhere(by_hand, report, tmp_path):
    for page in by_hand.pages_of(report, tmp_path).values():
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


def test_the_policy_lets_nothing_in_but_this_style_and_script(by_hand, report, tmp_path):
    for page in by_hand.pages_of(report, tmp_path).values():
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


def test_every_link_and_picture_is_there(by_hand, report, tmp_path):
    pages = by_hand.pages_of(report, tmp_path)
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


def test_pictures_are_those_of_the_shown_run_linked_into_the_folder(by_hand, report, tmp_path):
    pages = by_hand.pages_of(report, tmp_path)
    there = sorted((tmp_path / "report" / "pictures").rglob("*.png"))
    originals = [picture.path for picture in report.pictures[3:]]
    assert sorted(p.read_bytes() for p in there) == sorted(p.read_bytes() for p in originals)
    assert {path.stat().st_ino for path in there} == {p.stat().st_ino for p in originals}
    page = pages["datasets/A.html"]
    alternatives = [image["alt"] for image in page.named("img")]
    assert alternatives.count("Panel (DAL, T1, c1, A)") == 1
    assert "Curves (A)" in alternatives and "Boxes" not in alternatives
    assert any("of%20A.svg" in a["href"] for a in page.named("a"))


def test_of_an_earlier_report_nothing_stays(by_hand, report, tmp_path):
    before = set(by_hand.pages_of(report, tmp_path))
    fewer = dataclasses.replace(
        report,
        volumes=report.volumes[:1],
        pictures=report.pictures[:3],
        cases=report.cases[report.cases["dataset"] == "A"],
        results=report.results[report.results["dataset"] == "A"],
    )
    after = set(by_hand.pages_of(fewer, tmp_path))
    assert before - after == {
        "datasets/B.html",
        *(name for name in before if re.match(r"cases/A/c[137]_", name)),
    }
    assert not list((tmp_path / "report" / "pictures").rglob("*"))
    assert (tmp_path / "report" / "figures" / "all.png").is_file(), "that folder is another's"


def test_volumes_or_pictures_that_cannot_be_read_are_not_fatal(by_hand, report, tmp_path):
    report.volumes[0].path.write_bytes(b"spoilt")
    report.volumes[1].path.unlink()
    for picture in report.pictures:
        picture.path.unlink()
    pages = by_hand.pages_of(report, tmp_path)
    assert [Path(name).name[:3] for name in pages if name.startswith("cases/")] == ["c7_"]
    page = pages["datasets/A.html"]
    assert page.named("img") == []
    for name in ("c1.png", "c2.png", "of A.png"):
        assert f"The picture {name} is missing." in page.text
    assert "The picture all.png is missing." in pages["index.html"].text


def test_everything_that_was_given_is_inert_text(by_hand, report, tmp_path):
    evil = by_hand.case_row(EVIL, 1.0, EVIL) | {EVIL: EVIL, "sequence": EVIL, "method": EVIL}
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
        labels={by_hand.group: EVIL},
        left_out=pd.DataFrame({"dataset": [EVIL], "case": [EVIL], "reason": [EVIL]}),
        files=[],
    )
    pages = by_hand.pages_of(report, tmp_path)
    assert len(pages) == 3
    for page in pages.values():
        assert page.open == []
        code = [one for one in page.named("script") if one.get("type") is None]
        assert len(code) == 1 and page.text.count(EVIL) >= 6
        assert all("onerror" not in attributes for _, attributes in page.tags)
        assert page.path.resolve().is_relative_to((tmp_path / "report").resolve())
    assert pages["index.html"].text.count(EVIL) >= 20


def test_the_overview_compares_methods_by_their_means_over_seeds(by_hand, report, tmp_path):
    page = by_hand.pages_of(report, tmp_path)["index.html"]
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


def test_ablations_have_no_column(by_hand, report, tmp_path):
    only = dataclasses.replace(report, labels={by_hand.group: "ours"})
    assert by_hand.pages_of(only, tmp_path)["index.html"].rows[0][3:] == ["ours AP", "ours DSC"]


def test_headings_of_tables_are_buttons_that_state_their_order(by_hand, report, tmp_path):
    for name, page in by_hand.pages_of(report, tmp_path).items():
        headings = [th for th in page.named("th") if "aria-sort" in th]
        if not name.startswith("cases/"):
            assert headings and len(headings) == len(page.named("button"))
        assert {th["scope"] for th in page.named("th")} <= {"col", "row"}
        for region in (d for d in page.named("div") if d.get("role") == "region"):
            assert region["tabindex"] == "0" and region["aria-label"]


def test_every_page_says_what_it_is_not(by_hand, report, tmp_path):
    for name, page in by_hand.pages_of(report, tmp_path).items():
        assert "Simulated data." in page.text
        assert "Research tool, not for diagnosis" in page.text
        assert any(a["href"].endswith("#limits") for a in page.named("a")), name
        assert "2.4.1" in page.text
    real = by_hand.pages_of(dataclasses.replace(report, simulated=False), tmp_path)
    assert all("Simulated data" not in page.text for page in real.values())
    page = real["index.html"]
    for sentence in (*report.verdicts, *report.limits, *report.intro, report.methods_paragraph):
        assert sentence in page.text
    assert "N4ITK" in page.text, "what is cited is named in full"
    assert "SRI24" not in page.text, "what is not cited is not"
    assert "seconds and memory" in page.text


def test_sources_of_plans_wear_a_badge_with_a_word(by_hand, report, tmp_path):
    page = by_hand.pages_of(report, tmp_path)["index.html"]
    rows = [row for row in page.rows if "." in row[0] and len(row) == 3]
    assert rows == [
        ["training.steps", "200", "oursset by the planner"],
        ["scoring.score", "hybrid", "paperEq. 15"],
        ["intensity.landmarks", "0.1", "measured581 cases"],
        ["training.amp", "False", "user--set"],
        ["method.settings", "{}", "–"],
    ]


def test_what_is_missing_is_said(by_hand, tmp_path):
    pages = by_hand.pages_of(by_hand.empty, tmp_path / "new")
    page = pages["index.html"]
    assert list(pages) == ["index.html"] and page.named("table") == []
    sections = len(page.named("section")) + len(page.named("footer"))
    assert page.source.count('class="empty"') == sections


def test_failures_are_listed_or_none(by_hand, report, tmp_path):
    assert "None." in by_hand.pages_of(report, tmp_path)["index.html"].text
    failed = dataclasses.replace(report, failures=["case 7 failed"])
    page = by_hand.pages_of(failed, tmp_path)["index.html"]
    assert "case 7 failed" in page.text and "None." not in page.text
    assert "Failures (1)" in page.text


def test_equal_reports_give_equal_bytes(by_hand, report, tmp_path):
    first = {name: page.source for name, page in by_hand.pages_of(report, tmp_path).items()}
    assert first == {name: page.source for name, page in by_hand.pages_of(report, tmp_path).items()}
