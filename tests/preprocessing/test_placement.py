"""Which mask a case is laid on the atlas by: a leak is caught, the next tool tried, all of it said.

The tools are fakes, the registration is known, and the brain is a box in an atlas of a box.
"""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import CaseFailed, MissingDependency
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing import native as native_module
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.placement import place
from dal_auto.preprocessing.registration.backends import RegistrationError
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.workers.progress import Stopwatch

PLAN = PreprocessingPlan(mask_limits_ml=(20.0, 200.0), mask_reach_mm=10.0, mask_beyond_ml=5.0)
STEPS = CaseSteps(bias_correct=True, coregister=False, register_to_atlas=True, strip=True)
#: 4 mm voxels over the atlas's box, on its lattice.
GRID = Grid((60, 60, 38), ATLAS_GRID.affine @ np.diag([4.0, 4, 4, 1]))


def box(*ranges: tuple[int, int]) -> np.ndarray:
    """A box in voxels of GRID."""
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(*pair) for pair in ranges)] = True
    return mask


BRAIN = box((20, 36), (20, 36), (12, 24))  # 197 ml
LEAK = BRAIN | box((24, 32), (36, 48), (12, 15))  # further 18 ml, up to 48 mm away
CUT = BRAIN & ~box((24, 32), (20, 32), (15, 21))
NOTHING = np.zeros(GRID.shape, bool)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[:, :, :152] = BRAIN.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    return Atlas("toy", image, "")


@pytest.fixture
def tools(monkeypatch):
    """Set what each fake tool finds; a tool without an answer is not installed."""

    def absent() -> str:
        raise MissingDependency("the tool", "Install it.")

    def answers(**found: np.ndarray) -> None:
        for name in ("deepbet", "robex"):
            mask = found.get(name)
            version = absent if mask is None else lambda name=name: f"{name} 1.0"
            monkeypatch.setitem(TOOLS, name, Tool(lambda *_, mask=mask: mask, version))

    return answers


@pytest.fixture
def registered(monkeypatch) -> list[dict]:
    """The registrations asked for; each finds the atlas where it is."""
    asked: list[dict] = []

    def register(fixed, fixed_grid, moving, moving_grid, **settings):
        asked.append(settings | {"moving": moving})
        return np.eye(4)

    monkeypatch.setattr(native_module, "register", register)
    return asked


@pytest.fixture
def lay(atlas, registered):
    def call(plan=PLAN, steps=STEPS, **images):
        images = images or {"T1": np.ones(GRID.shape)}
        grids = dict.fromkeys(images, GRID)
        native = NativeCase("a", images, grids, next(iter(images)), None, None, grids, {})
        poses = dict.fromkeys(images, np.eye(4))
        return place(native, lambda: poses, Job(steps, plan, atlas, 1, Stopwatch()))

    return call


def test_a_sound_mask_is_taken_and_no_other_tool_runs(tools, lay, registered):
    tools(deepbet=BRAIN, robex=LEAK)
    placed, steps, figures = lay()
    np.testing.assert_array_equal(placed.mask, BRAIN)
    assert steps == ("brain mask: deepbet 1.0",)
    assert figures == {
        "mask_beyond_ml": 0.0,
        "mask_missing_ml": 0.0,
        "masks_rejected": 0.0,
        "mask_doubtful": 0.0,
        "mask_without_t1": 0.0,
    }
    assert len(registered) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (LEAK, "215 ml, outside 20 to 200, 14 ml lie beyond the atlas's brain by more than 10 mm"),
        (CUT, "ml of the atlas's brain are missing by more than 10 mm"),
        (box((20, 24), (20, 24), (12, 16)), "4 ml, outside 20 to 200"),
        (NOTHING, "no brain was found"),
    ],
    ids=["leak", "cut", "scrap", "nothing"],
)
def test_a_bad_mask_is_rejected_the_next_tool_tried_and_both_said(
    tools, lay, registered, caplog, bad, reason
):
    tools(deepbet=bad, robex=BRAIN)
    placed, steps, figures = lay()
    np.testing.assert_array_equal(placed.mask, BRAIN)
    assert steps[0].startswith("brain mask rejected: deepbet 1.0 (")
    assert reason in steps[0]
    assert steps[1:] == ("brain mask: robex 1.0",)
    assert (figures["masks_rejected"], figures["mask_doubtful"]) == (1, 0)
    assert reason in caplog.text
    assert "a: brain mask by deepbet 1.0" in caplog.text
    # What was registered is that of the second mask, from the image as it was read.
    np.testing.assert_array_equal(registered[-1]["moving"], np.where(BRAIN, 1.0, 0))


def test_a_way_that_leaves_doubts_is_looked_for_again_from_the_brains_own_box(
    tools, lay, monkeypatch
):
    """As of an image of head and neck: from the middle of the field greedy finds the shoulders."""
    tools(deepbet=BRAIN, robex=LEAK)
    asked, lost = [], np.eye(4)
    lost[2, 3] = 120

    def register(fixed, fixed_grid, moving, moving_grid, **settings):
        asked.append((moving.shape, moving_grid))
        return lost if moving.shape == GRID.shape else np.eye(4)

    monkeypatch.setattr(native_module, "register", register)
    placed, steps, _ = lay()
    np.testing.assert_array_equal(placed.atlas_to_reference, np.eye(4))
    assert steps == ("brain mask: deepbet 1.0",)
    (_, whole), (shape, part) = asked
    assert shape == (36, 36, 32) and whole.equals(GRID)
    # Ten voxels around the brain, each where it was.
    np.testing.assert_allclose(part.affine @ [10, 10, 10, 1], GRID.affine @ [20, 20, 12, 1])


def test_where_the_second_way_fails_the_first_one_is_taken(tools, lay, monkeypatch):
    tools(deepbet=BRAIN)
    lost = np.eye(4)
    lost[2, 3] = 120

    def register(fixed, fixed_grid, moving, moving_grid, **settings):
        if moving.shape != GRID.shape:
            raise RegistrationError("greedy failed")
        return lost

    monkeypatch.setattr(native_module, "register", register)
    placed, _, figures = lay()
    np.testing.assert_array_equal(placed.atlas_to_reference, lost)
    assert figures["mask_doubtful"] == 1


def test_what_is_not_zero_has_rivals_where_nobody_said_that_the_skull_is_off(tools, lay):
    """A defaced head whose air is 0 looks stripped."""
    tools(deepbet=BRAIN)
    head = {"T1": np.where(LEAK, 1.0, 0)}
    measured = STEPS.model_copy(update={"strip": False, "strip_if_doubtful": True})
    placed, steps, _ = lay(steps=measured, **head)
    np.testing.assert_array_equal(placed.mask, BRAIN)
    assert steps[0].startswith("brain mask rejected: what is not zero (")
    assert steps[1] == "brain mask: deepbet 1.0"
    tools()  # none is installed: as it was, and said
    alone, steps, _ = lay(steps=measured, **head)
    np.testing.assert_array_equal(alone.mask, LEAK)
    claimed, _, figures = lay(steps=STEPS.model_copy(update={"strip": False}), **head)
    np.testing.assert_array_equal(claimed.mask, LEAK)
    assert figures["mask_doubtful"] == 1


def test_of_doubtful_masks_the_one_that_overlaps_most_is_taken_and_flagged(tools, lay):
    for first, second in ((LEAK, CUT), (CUT, LEAK)):
        tools(deepbet=first, robex=second)
        placed, steps, figures = lay()
        np.testing.assert_array_equal(placed.mask, LEAK)
        assert (figures["masks_rejected"], figures["mask_doubtful"]) == (1, 1)
        assert figures["mask_beyond_ml"] > 5
        assert steps[0].startswith("brain mask rejected: ")
        assert steps[1].startswith(
            "brain mask: the best of them by overlap with the atlas's brain, doubtful: "
        )


def test_a_fallback_that_is_not_installed_is_passed_over_and_said(tools, lay):
    tools(deepbet=LEAK)
    placed, steps, figures = lay()
    np.testing.assert_array_equal(placed.mask, LEAK)
    assert steps[0] == "brain mask: robex is not installed, passed over"
    assert "doubtful: deepbet 1.0" in steps[1]
    assert figures["mask_doubtful"] == 1


def test_nobody_speaks_of_it_while_it_is_not_wanted(tools, lay):
    tools(deepbet=BRAIN)
    assert lay()[1] == ("brain mask: deepbet 1.0",)


def test_the_tool_of_the_plans_has_no_silent_substitute(tools, lay):
    tools(robex=BRAIN)
    with pytest.raises(MissingDependency):
        lay()


def test_without_fallbacks_a_doubtful_mask_is_kept_and_flagged(tools, lay):
    tools(deepbet=LEAK, robex=BRAIN)
    placed, _, figures = lay(plan=PLAN.model_copy(update={"skull_strip_fallbacks": ()}))
    np.testing.assert_array_equal(placed.mask, LEAK)
    assert figures["mask_doubtful"] == 1


def test_where_no_tool_finds_a_brain_the_case_fails_and_names_them(tools, lay):
    tools(deepbet=NOTHING, robex=NOTHING)
    with pytest.raises(CaseFailed, match=r"no brain was found in T1 \(deepbet 1\.0, robex 1\.0\)"):
        lay()


def test_a_stripped_image_with_an_odd_brain_is_flagged_and_not_stripped_again(tools, lay):
    tools(deepbet=BRAIN)
    stripped = STEPS.model_copy(update={"strip": False})
    placed, steps, figures = lay(steps=stripped, T1=np.where(LEAK, 1.0, 0))
    np.testing.assert_array_equal(placed.mask, LEAK)
    assert figures["mask_doubtful"] == 1
    assert steps[0].startswith("brain mask: doubtful: what is not zero (215 ml")


def test_a_mask_made_without_t1_is_flagged(tools, lay):
    tools(deepbet=BRAIN)
    _, steps, figures = lay(T2=np.ones(GRID.shape))
    assert steps == ("brain mask: deepbet 1.0, on T2 for want of a whole T1",)
    assert figures["mask_without_t1"] == 1
    _, steps, figures = lay(FLAIR=np.ones(GRID.shape), steps=STEPS)
    assert "on FLAIR" in steps[0]


def test_rigid_or_affine_to_the_atlas_as_the_plans_say(tools, lay, registered):
    tools(deepbet=BRAIN)
    lay()
    lay(plan=PLAN.model_copy(update={"atlas_transform": "affine"}))
    assert [asked["transform"] for asked in registered] == ["rigid", "affine"]
