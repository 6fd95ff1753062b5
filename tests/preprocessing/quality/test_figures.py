"""The figures of a case have known values where the case is known."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.quality.figures import quality_figures
from dal_auto.preprocessing.quality.limits import figure_of
from dal_auto.preprocessing.resampling import resample

SHAPE = (40, 56, 40)


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
    # An affine registration made this one a third larger than it was: nothing is cut off.
    scaled = quality_figures({}, brain, 9.0, toy, native_scale=0.75)
    assert scaled["brain_outside_share"] == 0 and scaled["brain_ml"] == 9.0
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
