"""Quality: figures with known values, pictures that belong to their case, files worst first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dal_auto.case import Geometry, StandardCase
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.quality.limits import FIGURES, figure_of
from dal_auto.preprocessing.quality.pictures import quality_figures, write_picture, write_quality
from dal_auto.preprocessing.resampling import resample
from dal_auto.store.standard_cases import read_records, write_case

SHAPE = (40, 56, 40)


@pytest.fixture(scope="module")
def toy() -> Atlas:
    """A box of 20×30×20 voxels in the middle of the target grid, brighter towards its end."""
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[110:130, 105:135, 68:88] = np.arange(1, 21)[:, None, None]
    return Atlas("toy", image, "")


@pytest.fixture
def brain() -> np.ndarray:
    """The toy's brain on the target grid, 40×56×40 about the same centre."""
    mask = np.zeros(SHAPE, bool)
    mask[10:30, 13:43, 10:30] = True
    return mask


def ramp(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.arange(40)[:, None, None] + 1.0, 0)


def test_a_case_that_is_the_atlas_has_full_overlap_and_correlation(toy, brain):
    figures = quality_figures({"T1": ramp(brain), "T2": 50 - ramp(brain)}, brain, 12.0, toy)
    assert {"brain_ml": 12.0, "atlas_dice": 1.0, "leak_share": 0.0, "bad_voxels": 0.0}.items() <= (
        figures.items()
    )
    assert figures["brain_outside_share"] == 0
    assert figures["atlas_correlation_T1"] == 1
    # Bright is dark in T2: no correlation could say so, information can.
    assert figures["atlas_nmi_T2"] == 1
    assert not {"atlas_correlation_T2", "atlas_nmi_T1"} & figures.keys()


def test_all_figures_are_explained_rounded_and_the_same_twice(toy, brain):
    noise = np.random.default_rng(0).uniform(1, 2, SHAPE)
    images = {"T1": ramp(brain) * noise, "FLAIR": np.where(brain, noise, 0)}
    figures = quality_figures(images, brain, 12.3456789, toy)
    assert all(figure_of(name).meaning for name in figures)
    assert all(value == round(value, 4) for value in figures.values())
    assert figures == quality_figures(images, brain, 12.3456789, toy)


def test_a_shifted_brain_overlaps_less(toy, brain):
    moved = np.roll(brain, 5, axis=0)
    figures = quality_figures({"T1": ramp(moved)}, moved, 12.0, toy)
    assert figures["atlas_dice"] == 15 / 20
    assert figures["leak_share"] == 0


def test_a_mask_that_leaks_is_told_apart_from_one_that_is_a_bit_large(toy, brain):
    larger = np.zeros_like(brain)
    larger[6:34, 9:47, 6:34] = True
    assert quality_figures({}, larger, 30.0, toy)["leak_share"] == 0
    leaking = brain.copy()
    leaking[10:30, 0:3, 10:30] = True  # 1200 of 13,200 voxels, 10 mm and more away
    share = quality_figures({}, leaking, 13.2, toy)["leak_share"]
    assert share == pytest.approx(800 / 13200, rel=0.01)  # blocks of 2³ at 11 and 13 mm: 0 and 1


def test_what_the_crop_cut_off_is_told(toy, brain):
    assert quality_figures({}, brain, 16.0, toy)["brain_outside_share"] == 0.25
    # Resampling may make a brain larger by partial voxels; that is no negative loss.
    assert quality_figures({}, brain, 11.0, toy)["brain_outside_share"] == 0


def test_a_brain_that_missed_the_atlas_has_no_correlation_and_no_crash(toy, brain):
    nowhere = np.zeros_like(brain)
    nowhere[:3] = True
    figures = quality_figures({"T1": ramp(nowhere)}, nowhere, 6.72, toy)
    assert figures["atlas_dice"] == 0
    assert "atlas_correlation_T1" not in figures


def test_a_constant_image_has_no_correlation_but_a_number(toy, brain):
    figures = quality_figures({"T1": brain * 3.0, "T2": brain * 2.0}, brain, 12.0, toy)
    assert figures["atlas_correlation_T1"] == 0
    assert figures["atlas_nmi_T2"] == 0


def test_voxels_that_are_negative_or_no_number_are_counted_and_spoil_nothing_else(toy, brain):
    image = ramp(brain)
    image[12, 20, 12:16] = np.nan, np.inf, -np.inf, -1
    figures = quality_figures({"T1": image}, brain, 12.0, toy)
    assert figures["bad_voxels"] == 4
    assert figures["atlas_correlation_T1"] == pytest.approx(1, abs=0.01)
    assert np.isfinite(list(figures.values())).all()


def test_figures_of_a_misaligned_case_are_told_from_those_of_an_aligned_one(atlas, rigid):
    """SRI24 as a case of its own, and the same 8 mm and 10° off."""
    target = centre_crop_or_pad(ATLAS_GRID, (160, 224, 160))
    centre = (target.affine @ [80, 112, 80, 1])[:3]
    matrix = rigid((10, 0, 0), (0, 8, 0))
    matrix[:3, 3] += centre - matrix[:3, :3] @ centre
    figures = []
    for pose in (np.eye(4), matrix):
        image = resample(atlas.image, atlas.grid, target, pose)
        brain = image > 0
        second = np.where(brain, resample(900 - atlas.image, atlas.grid, target, np.eye(4)), 0)
        images = {"T1": image, "T2": second}
        figures.append(quality_figures(images, brain, brain.sum() / 1000, atlas))
    well, badly = figures
    assert well["atlas_correlation_T1"] == pytest.approx(1)
    assert badly["atlas_correlation_T1"] < 0.4
    assert badly["atlas_dice"] < 0.95 < well["atlas_dice"]
    assert well["alignment_mm_T2"] < 0.2
    assert badly["alignment_mm_T2"] > 2
    assert well["bias_T1"] < 0.02


@pytest.fixture
def case(brain) -> StandardCase:
    lesion = np.zeros_like(brain)
    lesion[12:18, 20:26, 12:18] = True
    return StandardCase(
        dataset="D",
        case_id="fine",
        patient_id="p",
        sequences=("T1", "T2"),
        images=np.stack([ramp(brain), ramp(brain)]).astype(np.float32),
        brain_mask=brain,
        lesion_mask=lesion,
        geometry=Geometry({}, {}),
        scale={},
        percentiles={},
        quality={"brain_ml": 1400.0, "atlas_dice": 0.93, "brain_outside_share": 0.0},
        steps=(),
    )


@pytest.fixture
def write(tmp_path, toy):
    """Writes cases, then the dataset's quality files; returns the table."""

    def call(*cases: StandardCase, failures: tuple[str, ...] = ()) -> pd.DataFrame:
        for one in cases:
            write_case(tmp_path / "cases", one, f"hash of {one.case_id}")
        records = read_records(tmp_path / "cases")
        write_quality(tmp_path, "D", records, failures, atlas=toy)
        return pd.read_csv(tmp_path / "quality.csv", keep_default_na=False)

    return call


def picture(folder: Path, case_id: str) -> np.ndarray:
    with Image.open(folder / "quality" / f"{case_id}.webp") as found:
        return np.asarray(found.convert("RGB")).astype(int)


def test_the_picture_has_a_row_per_sequence_and_one_through_the_lesion(tmp_path, case, toy):
    heights = []
    for changes in (
        {"lesion_mask": None, "sequences": ("T1",), "images": case.images[:1]},
        {"lesion_mask": None},
        {},
        {"lesion_mask": np.zeros(SHAPE, bool)},
    ):
        write_picture(tmp_path, replace(case, **changes), "h", toy)
        heights.append(len(picture(tmp_path, "fine")))
    one, two, three, none_found = heights
    assert (two, three, none_found) == (2 * one, 3 * one, 2 * one)
    pixels = picture(tmp_path, "fine")
    assert ((pixels[..., 0] - pixels[..., 2]) > 60).any()  # orange: the brain mask
    assert ((pixels[..., 1] - pixels[..., 0]) > 60).any()  # green: the atlas


def test_equal_cases_give_equal_files(tmp_path, case, write):
    write(case)
    first = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "quality" / "fine.webp").unlink()
    write(case)
    assert first == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


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


def test_the_worst_come_first_and_every_figure_is_in_the_table(case, write):
    figures = {f"fine{n}": {"atlas_dice": 0.93 + n / 100} for n in range(5)} | {
        "broken": {"brain_ml": 300.0},
        "twice": {"brain_ml": 300.0, "atlas_dice": 0.5},
        "less": {"atlas_dice": 0.88, "lesion_ml": 3.5},
    }
    table = write(*[replace(case, case_id=n, quality=case.quality | q) for n, q in figures.items()])
    assert list(table["case"][:3]) == ["twice", "broken", "less"]
    assert table["flags"][1] == "brain_ml 300 outside 800 to 2200"
    assert (table["flags"][2:] == "").all()
    known = [name for name in FIGURES if name in table.columns]
    assert list(table.columns) == ["case", "flags", *known]
    assert table.set_index("case").loc["less", "lesion_ml"] == "3.5"


def test_a_large_cohort_flags_what_is_unlike_it(case, write):
    rng = np.random.default_rng(0)
    dice = np.round(rng.normal(0.93, 0.004, 30), 4)
    dice[7] = 0.85  # far above the fixed limit
    cases = [
        replace(case, case_id=f"c{n:02d}", quality=case.quality | {"atlas_dice": float(value)})
        for n, value in enumerate(dice)
    ]
    table = write(*cases)
    assert table["case"][0] == "c07"
    assert table["flags"][0].startswith("atlas_dice 0.85 (cohort: 0.9")
    assert (table["flags"][1:] == "").all()


def test_a_small_cohort_sets_no_limits_of_its_own(case, write):
    qualities = [case.quality | {"atlas_dice": dice} for dice in (0.85, *[0.93] * 10)]
    table = write(*[replace(case, case_id=f"c{n}", quality=q) for n, q in enumerate(qualities)])
    assert table["case"][0] == "c0"
    assert (table["flags"] == "").all()


def test_a_dataset_of_which_nothing_could_be_done_still_has_its_files(tmp_path, write):
    table = write(failures=("case a: empty",))
    assert list(table.columns) == ["case", "flags"]
    assert "<li>case a: empty</li>" in (tmp_path / "quality.html").read_text()
