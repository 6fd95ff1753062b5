"""Pictures belong to their case: drawn once, and again when it changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dal_auto.preprocessing.quality.dataset import write_quality
from dal_auto.preprocessing.quality.pictures import write_picture
from dal_auto.store.standard_cases import read_records, write_case


def picture(folder: Path, case_id: str) -> np.ndarray:
    with Image.open(folder / "quality" / f"{case_id}.webp") as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_picture_has_a_row_per_sequence_and_one_through_the_lesion(tmp_path, case, toy):
    heights = []
    for changes in (
        {"lesion_mask": None, "sequences": ("T1",), "images": case.images[:1]},
        {"lesion_mask": None},
        {},
        {"lesion_mask": np.zeros_like(case.brain_mask)},
    ):
        write_picture(tmp_path, replace(case, **changes), "h", toy)
        heights.append(len(picture(tmp_path, "fine")))
    one, two, three, empty = heights
    assert (two, three, empty) == (2 * one, 3 * one, 2 * one)
    pixels = picture(tmp_path, "fine")
    assert ((pixels[..., 0] - pixels[..., 2]) > 60).any()  # orange: the brain mask
    assert ((pixels[..., 1] - pixels[..., 0]) > 60).any()  # green: the atlas


def test_pictures_are_drawn_once_and_again_when_the_case_changed_or_they_are_damaged(
    tmp_path, case, write, monkeypatch
):
    drawn = []
    original = write_picture
    monkeypatch.setattr(
        "dal_auto.preprocessing.quality.pictures.write_picture",
        lambda folder, one, *rest: (drawn.append(one.case_id), original(folder, one, *rest)),
    )
    other = replace(case, case_id="other")
    write(case, other)
    assert drawn == ["fine", "other"]
    write(case, other)
    assert drawn == ["fine", "other"]
    path = tmp_path / "quality" / "fine.webp"
    path.write_bytes(path.read_bytes()[:100])
    write(case, other)
    assert drawn[2:] == ["fine"]
    write_case(tmp_path / "cases", other, "another hash")
    write_quality(tmp_path, "D", read_records(tmp_path / "cases"), [])
    assert drawn[3:] == ["other"]
    assert not list(tmp_path.rglob(".*"))  # nothing half-written is left


def test_a_case_whose_voxels_are_gone_is_shown_without_a_picture(tmp_path, case, write, caplog):
    write_case(tmp_path / "cases", case, "hash of fine")
    (tmp_path / "cases" / "fine.b2nd").unlink()
    write_quality(tmp_path, "D", read_records(tmp_path / "cases"), [])
    assert "no picture of fine" in caplog.text
    assert "no picture" in (tmp_path / "quality.html").read_text()
