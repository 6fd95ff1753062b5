"""Brain masks: one piece, no holes, and not simply what is above zero."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import MissingDependency, PlansError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.skull_strip.estimate import (
    estimate_brain_mask,
    foreground_mask,
    planned_tools,
)
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool

GRID = Grid((20, 20, 20), np.eye(4))


@pytest.fixture
def cube() -> np.ndarray:
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 4:16, 4:16] = True
    return mask


def test_negative_voxels_inside_a_stripped_brain_are_brain(cube):
    image = np.where(cube, 100.0, 0)
    image[4, 4:16, 4:16] = -2  # at its surface, where no filling of holes would help
    np.testing.assert_array_equal(foreground_mask([image], GRID), cube)


def test_the_brain_is_what_is_not_zero_in_any_sequence(cube):
    t1, t2 = np.where(cube, 1.0, 0), np.where(cube, 2.0, 0)
    t1[:8], t2[12:] = 0, 0
    np.testing.assert_array_equal(foreground_mask([t1, t2], GRID), cube)


def test_an_empty_slice_costs_no_part_of_the_brain_but_specks_go():
    grid = Grid((40, 40, 40), np.eye(4))
    image = np.zeros(grid.shape)
    image[4:36, 4:36, 4:36] = 1
    image[:, :, 14] = 0  # below it 10 ml, above it 21 ml
    image[0, 0, 0] = 1
    mask = foreground_mask([image], grid)
    assert mask.sum() == image.sum() - 1 and not mask[0, 0, 0]


def test_the_tool_is_asked_and_its_answer_cleaned(cube, monkeypatch):
    asked = []

    def find(image, grid):
        asked.append((image, grid))
        mask = cube.copy()
        mask[0, 0, 0], mask[9, 9, 9] = True, False
        return mask

    monkeypatch.setitem(TOOLS, "robex", Tool(find, lambda: "fake 1"))
    image = np.ones((20, 20, 20))
    np.testing.assert_array_equal(estimate_brain_mask(image, GRID, "robex"), cube)
    assert asked == [(image, GRID)]


@pytest.fixture
def installed(monkeypatch):
    """Say which tools are installed."""

    def say(*names: str) -> None:
        def version(name: str) -> str:
            if name not in names:
                raise MissingDependency(name, "Install it.")
            return f"{name} 1.0"

        for name in TOOLS:
            tool = Tool(lambda *_: np.ones(1, bool), lambda name=name: version(name))
            monkeypatch.setitem(TOOLS, name, tool)

    return say


def plan(own: str, *fallbacks: str) -> PreprocessingPlan:
    return PreprocessingPlan(skull_strip=own, skull_strip_fallbacks=fallbacks)


def test_the_plans_own_tool_comes_first_then_the_fallbacks_that_are_installed(installed):
    installed("deepbet", "robex", "hd-bet")
    found, absent = planned_tools(plan("hd-bet", "robex", "synthstrip", "deepbet"))
    assert list(found.items()) == [
        ("hd-bet", "hd-bet 1.0"),
        ("robex", "robex 1.0"),
        ("deepbet", "deepbet 1.0"),
    ]
    assert absent == ["synthstrip"]


def test_a_tool_is_not_its_own_fallback(installed):
    installed("robex")
    assert planned_tools(plan("robex", "robex")) == ({"robex": "robex 1.0"}, [])


def test_no_other_tool_takes_the_place_of_the_plans_own_unasked(installed):
    installed("robex")
    with pytest.raises(MissingDependency, match="deepbet"):
        planned_tools(plan("deepbet", "robex"))


def test_by_default_it_is_deepbet_then_robex(installed):
    installed(*TOOLS)
    assert list(planned_tools(PreprocessingPlan())[0]) == ["deepbet", "robex"]


def test_an_unknown_tool_is_an_error_of_the_plans_that_lists_the_known():
    with pytest.raises(PlansError, match=r"deepbet.*robex.*hd-bet.*synthstrip") as caught:
        PreprocessingPlan.parse({"skull_strip": "brainmage"}, "preprocessing")
    assert caught.value.key == "preprocessing.skull_strip"
