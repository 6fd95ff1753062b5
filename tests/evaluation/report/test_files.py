"""Names of files stay different and lead nowhere; of an earlier report only its own files go."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.evaluation.report.files import bring, remove_others, safe


@pytest.mark.parametrize("name", ["BraTS-GLI", "c_1.2-T1", "v1.nii"])
def test_a_plain_name_stays_as_it_is(name):
    assert safe(name) == name


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", ".x", "a b", "a\\b", "é", "<b>", "a:b"])
def test_an_odd_name_leaves_a_hash(name):
    found = safe(name)
    assert found != name and found == safe(name)
    assert Path(found).name == found and not found.startswith(".")
    assert re.fullmatch(r"[\w.-]+", found, re.ASCII)


@settings(max_examples=60, deadline=None)
@given(st.text("ab ./é-", min_size=1, max_size=5), st.text("ab ./é-", min_size=1, max_size=5))
def test_different_names_stay_different(one, other):
    assert (safe(one) == safe(other)) == (one == other)
    assert "/" not in safe(one) and safe(one).strip(".") == safe(one)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"picture")
    return path


def test_a_file_is_linked_and_takes_no_room(tmp_path, source):
    target = tmp_path / "report" / "pictures" / "a.png"
    bring(source, target)
    assert target.samefile(source)
    bring(source, target)
    assert target.samefile(source)


def test_where_nothing_can_be_linked_it_is_copied(tmp_path, source, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "report" / "a.png"
    for content in (b"picture", b"another"):
        source.write_bytes(content)
        bring(source, target)
        assert target.read_bytes() == content and not target.samefile(source)
    assert [path.name for path in target.parent.iterdir()] == ["a.png"]


def test_an_older_file_gives_way_and_keeps_its_own_content_elsewhere(tmp_path, source):
    older, target = tmp_path / "older.png", tmp_path / "report" / "a.png"
    older.write_bytes(b"older")
    bring(older, target)
    bring(source, target)
    assert target.read_bytes() == b"picture" and older.read_bytes() == b"older"


def test_only_what_was_written_stays_in_the_reports_own_folders(tmp_path):
    kept, others = tmp_path / "datasets" / "A.html", tmp_path / "figures" / "a.png"
    old = [
        tmp_path / "datasets" / "B.html",
        tmp_path / "cases" / "B" / "c.html",
        tmp_path / "cases" / "B" / "deep" / "c.html",
        tmp_path / "pictures" / "A" / "c.png",
    ]
    for path in (kept, others, *old, tmp_path / "index.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    remove_others(tmp_path, [kept])
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert left == ["datasets/A.html", "figures/a.png", "index.html"]
    assert not (tmp_path / "cases" / "B").exists() and not (tmp_path / "pictures" / "A").exists()
    remove_others(tmp_path / "nowhere", [])
