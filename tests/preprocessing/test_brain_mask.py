"""Where a brain mask comes from, and whether it can be a brain's: closed forms, and SRI24."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.brain_mask import MaskFit, candidate_masks, fit_to_atlas
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.resampling import resample_mask
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.preprocessing.supplied_masks import SuppliedMask
from dal_auto.workers.progress import Stopwatch

PLAN = PreprocessingPlan()
REACH = PLAN.mask_reach_mm
RAW = CaseSteps(bias_correct=False, coregister=False, register_to_atlas=False, strip=True)
STRIPPED = RAW.model_copy(update={"strip": False})


@pytest.fixture(scope="module")
def ball() -> Atlas:
    """An atlas whose brain is a ball of 60 mm (905 ml)."""
    index = np.stack(np.meshgrid(*map(np.arange, ATLAS_GRID.shape), indexing="ij"), axis=-1)
    radius = np.linalg.norm(index - (120, 120, 77), axis=-1)
    return Atlas("ball", (radius < 60).astype(np.float32), "")


CENTRE_MM = (ATLAS_GRID.affine @ [120, 120, 77, 1])[:3]


def ball_mask(grid: Grid, radius_mm: float, shift_mm=(0, 0, 0)) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = nib.affines.apply_affine(grid.affine, index)
    return np.linalg.norm(points - CENTRE_MM - shift_mm, axis=-1) < radius_mm


@pytest.fixture(scope="module")
def native() -> Grid:
    """Thick slices, other axes, and far longer downwards than the atlas's box."""
    affine = np.zeros((4, 4))
    affine[:3, :3] = np.array([[0, 0, 3], [-2, 0, 0], [0, -2, 0]])
    affine[3, 3] = 1
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ (50, 60, 33)
    return Grid((100, 140, 66), affine)


def volume(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def test_a_mask_that_is_the_atlass_fits_it(ball, native):
    fit = fit_to_atlas(ball_mask(native, 60), native, ball, np.eye(4), REACH)
    assert fit.volume_ml == pytest.approx(volume(60), rel=0.01)
    assert (fit.beyond_ml, fit.missing_ml) == (0, 0)
    assert fit.dice > 0.98
    assert fit.doubts(PLAN) == []


def test_what_reaches_too_far_is_measured_also_below_the_atlass_box(ball, native):
    leak = ball_mask(native, 60) | ball_mask(native, 30, (0, 0, -110))
    fit = fit_to_atlas(leak, native, ball, np.eye(4), REACH)
    # The second ball begins 80 mm from the centre, 20 mm from the first.
    assert fit.beyond_ml == pytest.approx(volume(30), rel=0.02)
    words = "ml lie beyond the atlas's brain by more than 15 mm"
    assert fit.doubts(PLAN) == [f"{fit.beyond_ml:.0f} {words}"]


def test_what_is_cut_out_of_the_depths_is_measured(ball, native):
    fit = fit_to_atlas(
        ball_mask(native, 60) & ~ball_mask(native, 30), native, ball, np.eye(4), REACH
    )
    assert fit.missing_ml == pytest.approx(volume(30), rel=0.03)
    assert "are missing" in fit.doubts(PLAN)[0]


def test_what_the_field_of_view_leaves_out_is_not_missing(ball, native):
    half = native.part((slice(0, native.shape[0]), slice(0, native.shape[1]), slice(0, 30)))
    fit = fit_to_atlas(ball_mask(half, 60), half, ball, np.eye(4), REACH)
    assert (fit.beyond_ml, fit.missing_ml) == (0, 0) and fit.dice < 0.9


def test_a_rim_within_reach_is_no_leak_and_no_cut(ball, native):
    for radius in (47, 72):
        fit = fit_to_atlas(ball_mask(native, radius), native, ball, np.eye(4), REACH)
        assert (fit.beyond_ml, fit.missing_ml) == (0, 0), radius


@pytest.mark.parametrize("scale", [1.0, 1.15])
def test_the_matrix_is_followed_and_volumes_are_the_masks_own(ball, native, rigid, scale):
    """The atlas's ball lies turned, moved and scaled in the mask's world."""
    atlas_to_mask = rigid((10, 20, -15), (12, -9, 5))
    atlas_to_mask[:3, :3] *= scale
    centre = nib.affines.apply_affine(atlas_to_mask, CENTRE_MM)
    affine = native.affine.copy()
    affine[:3, 3] += centre - CENTRE_MM
    grid = Grid(native.shape, affine)
    mask = ball_mask(grid, 60 * scale, centre - CENTRE_MM)
    cut = mask & ~ball_mask(grid, 30 * scale, centre - CENTRE_MM)
    assert fit_to_atlas(mask, grid, ball, atlas_to_mask, REACH).dice > 0.98
    fit = fit_to_atlas(cut, grid, ball, atlas_to_mask, REACH)
    assert fit.missing_ml == pytest.approx(volume(30 * scale), rel=0.03)
    assert fit.beyond_ml == 0


@pytest.mark.parametrize("value", [599, 2201])
def test_a_volume_outside_the_limits_is_a_doubt(value):
    fit = MaskFit(volume_ml=value, beyond_ml=0, missing_ml=0, dice=0.9)
    assert fit.doubts(PLAN) == [f"{value} ml, outside 600 to 2200"]


@pytest.mark.parametrize("millilitres", [700, 1000, 1450, 1950, 2150])
def test_small_children_and_brains_scaled_to_mni_space_are_no_failures(atlas, millilitres):
    """SRI24's own brain at other sizes, as after a rigid registration that keeps the centre."""
    own_ml = atlas.brain_mask.sum() * atlas.grid.voxel_ml
    centre = nib.affines.apply_affine(atlas.grid.affine, ndimage.center_of_mass(atlas.brain_mask))
    grid = Grid((140, 140, 120), np.diag([-2.0, -2, 2, 1]))
    grid.affine[:3, 3] = centre + np.array([140, 140, -120])
    shrunk = np.diag([*[(own_ml / millilitres) ** (1 / 3)] * 3, 1])
    shrunk[:3, 3] = centre - shrunk[:3, :3] @ centre
    mask = resample_mask(atlas.brain_mask, atlas.grid, grid, shrunk)
    fit = fit_to_atlas(mask, grid, atlas, np.eye(4), REACH)
    assert fit.volume_ml == pytest.approx(millilitres, rel=0.01)
    assert fit.doubts(PLAN) == []


# --- where masks come from ---------------------------------------------------------------------

SMALL = Grid((8, 9, 10), np.eye(4))
CUBE = np.zeros(SMALL.shape, bool)
CUBE[2:6, 2:7, 3:8] = True


def case(reference="T1", brain=None, **images: np.ndarray) -> NativeCase:
    grids = dict.fromkeys(images, SMALL)
    return NativeCase("a", images, grids, reference, brain, None, grids, {})


def job(steps: CaseSteps, ball: Atlas, **plan) -> Job:
    return Job(steps, PreprocessingPlan(**plan), ball, 1, Stopwatch())


@pytest.fixture
def tools(monkeypatch) -> list[str]:
    """Fake tools that list whom they were asked to strip."""
    asked: list[str] = []

    def fake(name: str):
        def find(image, grid):
            asked.append(f"{name} {image[0, 0, 0]:g}")
            return CUBE

        return Tool(find, lambda: f"{name} 1.0")

    for name in ("deepbet", "robex"):
        monkeypatch.setitem(TOOLS, name, fake(name))
    return asked


def test_a_tool_runs_only_when_its_mask_is_asked_for(tools, ball):
    images = {"T1": np.full(SMALL.shape, 1.0), "T2": np.full(SMALL.shape, 2.0)}
    masks = candidate_masks(case(**images), dict, job(RAW, ball))
    assert next(masks).origin == "deepbet 1.0"
    assert tools == ["deepbet 1"]
    second = next(masks)
    np.testing.assert_array_equal(second.mask, CUBE)
    assert second.origin == "robex 1.0"
    assert tools == ["deepbet 1", "robex 1"]
    assert next(masks, None) is None


def test_without_t1_the_mask_says_on_what_it_was_made(tools, ball):
    masks = candidate_masks(case("T2", T2=np.full(SMALL.shape, 2.0)), dict, job(RAW, ball))
    assert next(masks).origin == "deepbet 1.0, on T2 for want of a whole T1"


def test_a_supplied_mask_has_no_rival_and_comes_from_the_grid_it_lies_on(tools, ball):
    moved = np.eye(4)
    moved[0, 3] = 2  # T1 mm → T2 mm
    matrices = {"T1": np.eye(4), "T2": moved}
    for sequence, expected in (("T1", CUBE), ("T2", np.roll(CUBE, -2, axis=0))):
        supplied = SuppliedMask(CUBE, sequence)
        native = case(brain=supplied, T1=np.ones(SMALL.shape), T2=np.ones(SMALL.shape))
        masks = list(candidate_masks(native, lambda: matrices, job(STRIPPED, ball)))
        assert [mask.origin for mask in masks] == ["supplied with the case"]
        np.testing.assert_array_equal(masks[0].mask, expected)
    assert tools == []


def test_of_stripped_images_it_is_what_is_not_zero_in_any_that_share_a_pose(ball):
    half = CUBE.copy()
    half[:4] = False
    images = {"T1": np.where(half, -5.0, 0), "T2": np.where(CUBE, 1.0, 0)}
    (mask,) = candidate_masks(case(**images), dict, job(STRIPPED, ball))
    assert mask.origin == "what is not zero"
    np.testing.assert_array_equal(mask.mask, CUBE)
    apart = STRIPPED.model_copy(update={"coregister": True})
    (mask,) = candidate_masks(case(**images), dict, job(apart, ball))
    np.testing.assert_array_equal(mask.mask, half)
