"""Standard cases on disk: what is written comes back, and what was damaged does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from dal_auto.case import Geometry, Grid, StandardCase
from dal_auto.errors import InputError
from dal_auto.store.standard_cases import (
    read_array,
    read_case,
    read_record,
    read_records,
    write_array,
    write_case,
)

SHAPE = (16, 20, 12)


@pytest.fixture
def case() -> StandardCase:
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    lesion = np.zeros(SHAPE, bool)
    lesion[5:7, 5:7, 5:7] = True
    images = (rng.random((2, *SHAPE)) * brain).astype(np.float16).astype(np.float32)
    grid = Grid((10, 11, 12), np.diag([1.1, 1.2, 1.3, 1.0]))
    return StandardCase(
        dataset="D",
        case_id="case_1",
        patient_id="patient_1",
        sequences=("T1", "T2"),
        images=images,
        brain_mask=brain,
        lesion_mask=lesion,
        geometry=Geometry({"T1": grid, "T2": grid}, {"T1": np.eye(4), "T2": np.eye(4) * 0.1}),
        scale={"T1": 812.3, "T2": 1 / 3},
        percentiles={"T1": (0.1, 0.2), "T2": (0.3, 0.4)},
        quality={"brain_ml": 1400.5},
        steps=("one", "two"),
    )


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_case_comes_back_as_it_was_written(tmp_path, case):
    write_case(tmp_path, case, "the hash")
    (record,) = read_records(tmp_path)
    assert (record.case_id, record.patient_id, record.hash) == ("case_1", "patient_1", "the hash")
    assert record.has_lesion_mask
    again = read_case(record)
    for name in ("dataset", "case_id", "patient_id", "sequences", "scale", "quality", "steps"):
        assert getattr(again, name) == getattr(case, name), name
    assert again.percentiles == record.percentiles == case.percentiles
    np.testing.assert_array_equal(again.images, case.images)
    assert again.images.dtype == np.float32
    for name in ("brain_mask", "lesion_mask"):
        assert getattr(again, name).dtype == bool
        np.testing.assert_array_equal(getattr(again, name), getattr(case, name))
    geometry = TypeAdapter(Geometry)
    assert geometry.dump_json(again.geometry) == geometry.dump_json(case.geometry)


@pytest.mark.parametrize("annotated", [False, True])
def test_the_part_that_a_sequence_shows_comes_back(tmp_path, case, annotated):
    part = case.brain_mask.copy()
    part[:, :, 8:] = False
    lesion = case.lesion_mask if annotated else None
    write_case(tmp_path, replace(case, lesion_mask=lesion, shown={"T2": part}), "hash")
    (record,) = read_records(tmp_path)
    assert record.partial == ("T2",)
    again = read_case(record)
    np.testing.assert_array_equal(again.brain_of("T2"), part)
    np.testing.assert_array_equal(again.brain_of("T1"), case.brain_mask)
    assert (again.lesion_mask is not None) is annotated


def test_a_case_without_lesion_mask_comes_back_without(tmp_path, case):
    write_case(tmp_path, replace(case, lesion_mask=None), "hash")
    (record,) = read_records(tmp_path)
    assert not record.has_lesion_mask
    assert read_case(record).lesion_mask is None


def test_a_healthy_case_with_a_mask_keeps_its_empty_mask(tmp_path, case):
    write_case(tmp_path, replace(case, lesion_mask=np.zeros(SHAPE, bool)), "hash")
    mask = read_case(read_records(tmp_path)[0]).lesion_mask
    assert mask is not None
    assert not mask.any()


def test_writing_twice_gives_the_same_bytes_and_two_files(tmp_path, case):
    write_case(tmp_path / "a", case, "hash")
    first = bytes_in(tmp_path / "a")
    write_case(tmp_path / "a", case, "hash")
    write_case(tmp_path / "b", case, "hash")
    assert sorted(first) == ["case_1.b2nd", "case_1.json"]
    assert bytes_in(tmp_path / "a") == bytes_in(tmp_path / "b") == first


def test_records_are_sorted_and_half_written_files_are_not_cases(tmp_path, case):
    for name in ("b", "c", "a"):
        write_case(tmp_path, replace(case, case_id=name), "hash")
    (tmp_path / ".17.d.json").write_text("{half")
    (tmp_path / "c.json").unlink()  # voxels alone are no case
    assert [record.case_id for record in read_records(tmp_path)] == ["a", "b"]


def test_a_folder_that_is_not_there_holds_no_record(tmp_path):
    assert read_records(tmp_path / "nothing") == []


def damage_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        damage_one_byte,
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
        Path.unlink,
        lambda path: write_array(path, np.zeros((4, *SHAPE), np.float16)),
    ],
    ids=["one byte", "truncated", "empty", "missing", "voxels of another run"],
)
def test_damaged_voxels_are_refused_with_the_file_and_the_way_out(tmp_path, case, harm):
    write_case(tmp_path, case, "hash")
    harm(tmp_path / "case_1.b2nd")
    with pytest.raises(InputError) as caught:
        read_case(read_records(tmp_path)[0])
    assert caught.value.file == tmp_path / "case_1.b2nd"
    assert "dal_plan_and_preprocess" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b'{"case_id": "a', b"\xff\xfe"])
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_record(tmp_path / "a.json")


def test_the_record_is_json_that_anyone_reads(tmp_path, case):
    write_case(tmp_path, case, "hash")
    content = json.loads((tmp_path / "case_1.json").read_text())
    assert content["percentiles"]["T1"] == [0.1, 0.2]


def test_arrays_of_any_kind_come_back(tmp_path):
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5).transpose(0, 3, 2, 1)
    write_array(tmp_path / "array.b2nd", array)
    again = read_array(tmp_path / "array.b2nd")
    assert again.dtype == np.int16
    np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"array_sha256": 5}, "array_sha256"), ({"colour": "red"}, "known keys"),
     ({"percentiles": {"T1": "high"}}, "percentiles")],
)  # fmt: skip
def test_a_record_of_another_shape_is_refused_and_the_key_named(tmp_path, case, change, said):
    write_case(tmp_path, case, "hash")
    path = tmp_path / "case_1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=said):
        read_record(path)


def test_numbers_are_written_as_they_were_measured(tmp_path, case):
    """A whole number stays one, so that equal results give equal bytes across versions."""
    write_case(tmp_path, replace(case, quality={"lesions": 3, "brain_ml": 1400.0}), "hash")
    content = json.loads((tmp_path / "case_1.json").read_text())
    assert json.dumps(content["quality"]) == '{"lesions": 3, "brain_ml": 1400.0}'
    assert "path" not in content
