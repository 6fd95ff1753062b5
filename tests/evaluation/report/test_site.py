"""Pages find the summary, and pictures are brought to them and told in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from dal_auto.evaluation.report import site as module
from dal_auto.evaluation.report.cases import Case
from dal_auto.evaluation.report.content import Picture
from dal_auto.evaluation.report.site import Site


@pytest.fixture
def site(tmp_path: Path, by_hand) -> Site:
    return Site(by_hand.empty, tmp_path / "report" / "index.html")


def png(path: Path, size: tuple[int, int] = (3, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)
    return path


def test_every_page_but_the_summary_leads_to_it(site, monkeypatch):
    written = []
    monkeypatch.setattr(module, "write_page", lambda *args, **named: written.append((args, named)))
    page = site.index.parent / "cases" / "A b" / "c.html"
    site.write(site.index, "index.html", some="content")
    site.write(page, "case.html", scripts=("viewer.js",))
    ((path, template, package), first), (_, second) = written
    assert (path, template) == (site.index, "index.html")
    assert package == "dal_auto.evaluation.report"
    assert first["index"] == "" and first["some"] == "content" and first["report"] is site.report
    assert second["index"] == "../../index.html" and second["scripts"] == ("viewer.js",)


def test_a_picture_of_the_folder_is_shown_from_where_it_lies(site):
    path = png(site.index.parent / "figures" / "of A.png")
    drawn = site.drawn(Picture(path, "Curves", "A"), site.index)
    assert drawn.shown.url == "figures/of%20A.png" and drawn.vector == ""
    assert (drawn.shown.width, drawn.shown.height) == (3, 2)
    path.with_suffix(".svg").write_text("<svg/>")
    drawn = site.drawn(Picture(path, "Curves", "A"), site.index.parent / "datasets" / "A.html")
    assert drawn.shown.url == "../figures/of%20A.png"
    assert drawn.vector == "../figures/of%20A.svg"
    assert site.brought == set()


def test_the_words_for_a_picture_say_all_that_is_known_of_it(site, by_hand):
    path = png(site.index.parent / "figures" / "a.png")

    def words(*of) -> str:
        return site.drawn(Picture(path, "Panel", *of), site.index).shown.alternative

    assert words() == "Panel"
    assert words("A") == "Panel (A)"
    assert words("A", "c1", "T1", by_hand.run) == "Panel (DAL, T1, c1, A)"


def test_a_picture_from_elsewhere_is_linked_under_the_name_of_its_case(site, tmp_path, by_hand):
    path, dataset = png(tmp_path / "run" / "c_T1.png"), "<A> /.."
    picture = Picture(path, "Panel", dataset, "c", "T1", by_hand.run)
    case = Case(dataset, "c", "T1", "DAL", by_hand.run, {}, picture)
    drawn = site.drawn(picture, site.index, case)
    (brought,) = site.brought
    assert brought.samefile(path) and brought.stem == case.stem
    assert brought.parent.parent == site.index.parent / "pictures"
    assert drawn.shown.url == brought.relative_to(site.index.parent).as_posix()
    assert drawn.picture is picture
    site.drawn(Picture(path, "Panel"), site.index)
    assert site.index.parent / "pictures" / "all" / "c_T1.png" in site.brought


def test_a_picture_that_is_missing_or_damaged_is_shown_as_such(site, tmp_path):
    for path in (tmp_path / "missing.png", site.index.parent / "figures" / "missing.png"):
        picture = Picture(path, "Curves")
        drawn = site.drawn(picture, site.index)
        assert drawn.shown is None and drawn.vector == "" and drawn.picture is picture
    assert site.brought == set()
    damaged = png(site.index.parent / "figures" / "a.png")
    damaged.write_bytes(damaged.read_bytes()[:20])
    assert site.drawn(Picture(damaged, "Curves"), site.index).shown is None
