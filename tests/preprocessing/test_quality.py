"""Quality: figures with known values, flags that name them, a page that shows them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dal_auto.case import Geometry, StandardCase
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.quality import (
    LIMITS,
    flags,
    mosaic_png,
    quality_figures,
    write_quality,
)
from dal_auto.standard_files import read_records, write_case

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
    assert figures == {
        "brain_ml": 12.0,
        "atlas_dice": 1.0,
        "brain_outside_share": 0.0,
        "atlas_correlation_T1": 1.0,
        "atlas_correlation_T2": -1.0,
    }


def test_a_shifted_brain_overlaps_less(toy, brain):
    moved = np.roll(brain, 5, axis=0)
    figures = quality_figures({"T1": ramp(moved)}, moved, 12.0, toy)
    assert figures["atlas_dice"] == 15 / 20


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
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = quality_figures({"T1": brain * 3.0}, brain, 12.0, toy)
    assert figures["atlas_correlation_T1"] == 0


def test_figures_inside_their_limits_raise_no_flag_and_others_are_named():
    fine = {name: high for name, (_, high) in LIMITS.items()}
    assert flags(fine) == []
    assert flags(fine | {"brain_ml": 500.0}) == ["brain_ml 500 outside 800 to 2200"]
    assert len(flags({"atlas_dice": 0.5, "brain_outside_share": 0.1, "unknown": 9})) == 2


@pytest.fixture
def case(brain) -> StandardCase:
    return StandardCase(
        dataset="D",
        case_id="fine",
        patient_id="p",
        sequences=("T1", "T2"),
        images=np.stack([ramp(brain), ramp(brain)]).astype(np.float32),
        brain_mask=brain,
        lesion_mask=None,
        geometry=Geometry({}, {}),
        scale={},
        percentiles={},
        quality={"brain_ml": 1400.0, "atlas_dice": 0.93, "brain_outside_share": 0.0},
        steps=(),
    )


def test_the_picture_shows_every_sequence_with_the_masks_edge(case):
    two = Image.open(io.BytesIO(mosaic_png(case)))
    one = Image.open(
        io.BytesIO(mosaic_png(replace(case, sequences=("T1",), images=case.images[:1])))
    )
    assert two.width == one.width
    assert two.height == 2 * one.height
    pixels = np.asarray(two.convert("RGB")).astype(int)
    assert ((pixels[..., 0] - pixels[..., 2]) > 150).any()  # orange
    grey = (np.ptp(pixels, axis=-1) == 0) & (pixels.max(axis=-1) > 60)
    assert grey.any()


def test_the_page_lists_flagged_cases_first_and_what_failed(tmp_path, case):
    bad = replace(case, case_id="bad<1>", quality=case.quality | {"brain_ml": 300.0})
    for one in (case, bad):
        write_case(tmp_path / "cases", one, "hash")
    write_quality(tmp_path, "D&D", read_records(tmp_path / "cases"), ["case x: T1 is <truncated>"])
    table = pd.read_csv(tmp_path / "quality.csv")
    assert list(table["case"]) == ["bad<1>", "fine"]
    assert table["flags"][0] == "brain_ml 300 outside 800 to 2200"
    page = (tmp_path / "quality.html").read_text()
    assert page.index("bad&lt;1&gt;") < page.index("<b>fine</b>")
    assert "<li>case x: T1 is &lt;truncated&gt;</li>" in page
    assert "D&amp;D: 2 cases" in page
    assert page.count("data:image/png;base64,") == 2


def test_a_dataset_of_which_nothing_could_be_done_still_has_its_page(tmp_path):
    write_quality(tmp_path, "D", [], ["case a: empty"])
    assert "<li>case a: empty</li>" in (tmp_path / "quality.html").read_text()
    assert (tmp_path / "quality.csv").is_file()
