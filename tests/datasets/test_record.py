"""The records themselves, and what is said of faulty ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dal_auto.datasets.record import DatasetRecord, read_record
from dal_auto.datasets.registry import RECORDS, load_records
from dal_auto.errors import InputError


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("colour", "red", "colour"),
        ("role", "healthy", "role"),
        ("layouts", [], "layouts"),
        ("name", 3, "name"),
        ("layouts.0.case.regex", "sub-(", "regular expression"),
        ("layouts.0.case.regex", r"sub-\d+", r"(?P<case>…)"),
        ("layouts.0.case.regex", r"(?P<case>\d+)", r"(?P<seq>…)"),
        ("layouts.0.claims.striped", True, "striped"),
        ("layouts.0.case.example", "IXI-1", "does not match"),
        ("layouts.0.mask_labels", {"necrosis": "1"}, "whole numbers"),
        ("layouts.0.overrides", {"FIX": "many"}, "whole number"),
        ("layouts.0.sequences", {"t1": ["T1"]}, "'t1' is called 'T1' here"),
        ("layouts.0.lesion_masks", ["/etc/{case}"], "relative to the case's folder"),
        ("layouts.0.brain_masks", [""], "relative to the case's folder"),
        ("expected.lacking", {"T2": "IXI116"}, "expected.lacking.T2"),
    ],
)
def test_a_faulty_record_is_an_error_that_names_file_and_key(
    tmp_path: Path, key: str, value: object, said: str
) -> None:
    content = json.loads((RECORDS / "ixi.json").read_text())
    *way, last = key.split(".")
    part = content
    for step in way:
        part = part[int(step) if step.isdigit() else step]
    part[last] = value
    path = tmp_path / "dal_record.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_record(path)
    assert str(path) in str(error.value) and key in str(error.value) and said in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_what_is_no_record_at_all_is_an_error_that_names_the_file(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "dal_record.json"
    path.write_text(text)
    with pytest.raises(InputError, match="dal_record"):
        read_record(path)


def test_a_record_with_a_byte_order_mark_is_read_as_without(tmp_path: Path) -> None:
    original = RECORDS / "ixi.json"
    copy = tmp_path / "dal_record.json"
    copy.write_bytes(b"\xef\xbb\xbf" + original.read_bytes())
    assert read_record(copy) == read_record(original)


@pytest.mark.parametrize("record", load_records().values(), ids=lambda record: record.name)
def test_every_record_says_how_well_it_is_known_and_what_its_masks_mean(
    record: DatasetRecord,
) -> None:
    assert {"layout", "counts", "claims"} <= set(record.verified)
    assert record.access.url.startswith("https://")
    for layout in record.layouts:
        assert bool(layout.lesion_masks) == bool(layout.mask_labels) == (record.role == "test")
        assert {"T1", "T2"} >= set(layout.sequences)
        assert layout.case.example and all(layout.skip.values())
    for other, scans in record.overlaps.items():
        assert load_records()[other].overlaps[record.name] == scans


def test_the_papers_test_sets_add_up() -> None:
    papers = {r.name: r.expected.paper or 0 for r in load_records().values() if r.role == "test"}
    assert sum(papers.values()) == 4443 and sum(papers.values()) - papers["ATLAS"] == 3788


def test_what_is_known_of_ixi_adds_up() -> None:
    expected = load_records()["IXI"].expected
    lacking = {name: len(cases) for name, cases in expected.lacking.items()}
    assert expected.cases == sum(expected.subsets.values()) == 582
    for name, images in expected.images.items():
        assert images + lacking[name] == expected.cases
    assert expected.pairs == expected.cases - sum(lacking.values()) == 577


def test_the_collections_of_brats_gli_add_up() -> None:
    expected = load_records()["BraTS-GLI"].expected
    assert sum(expected.subsets.values()) == expected.cases == 1251


def test_the_record_in_the_docs_is_one(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    path = tmp_path / "dal_record.json"
    path.write_text(docs.split("```json")[1].split("```")[0], encoding="utf-8")
    record = read_record(path)
    assert record.layouts[0].case.example == "P007_1" and record.name == "Clinic"


def test_masks_beside_files_that_share_an_id_are_refused(tmp_path: Path) -> None:
    """They would be ignored, and patients with lesions pass as healthy."""
    content = json.loads((RECORDS / "ixi.json").read_text())
    assert content["layouts"][0]["case"]["kind"] == "file"
    content["layouts"][0]["lesion_masks"] = ["{case}_lesion"]
    path = tmp_path / "dal_record.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="lesion_masks is of no effect"):
        read_record(path)
