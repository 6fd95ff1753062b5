"""The named configurations, and which of them are tried on a device."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.errors import PlansError
from dal_auto.planning.configurations import CONFIGURATIONS, candidates
from dal_auto.plans import TrainingPlan

rows = pytest.mark.parametrize("name", CONFIGURATIONS)


@rows
def test_every_grid_covers_the_standard_box(name):
    plan = CONFIGURATIONS[name].plan(name)
    np.testing.assert_allclose(np.multiply(plan.input_shape, plan.spacing_mm), (160, 224, 160))
    assert plan.name == name


def test_spacing_follows_the_box_that_the_grid_covers():
    plan = CONFIGURATIONS["demo"].plan("demo", target_shape=(80, 112, 120))
    assert plan.spacing_mm == (2.0, 2.0, 3.0)


@rows
def test_no_window_is_larger_than_its_grid_and_all_can_be_halved_thrice(name):
    row = CONFIGURATIONS[name]
    assert all(w <= s for w, s in zip(row.window, row.input_shape, strict=True))
    assert all(size % 8 == 0 for size in row.window)


@rows
def test_every_value_of_a_row_has_a_source_and_is_a_key_of_the_plans(name):
    row = CONFIGURATIONS[name]
    sources = row.sources()
    assert all(source.startswith(("paper:", "ours:")) for source in sources.values())
    assert {"configuration.input_shape", "configuration.window"} <= set(sources)
    TrainingPlan.parse({key: value for key, (value, _) in row.training.items()})
    assert {f"training.{key}" for key in row.training} <= set(sources)


def test_the_papers_grid_is_the_papers():
    plan = CONFIGURATIONS["paper"].plan("paper")
    assert plan.input_shape == plan.window == (112, 160, 112)
    np.testing.assert_allclose(plan.spacing_mm, (1.43, 1.4, 1.43), atol=0.005)
    assert plan.downsampling == "trilinear"


@rows
def test_grids_that_skip_voxels_average_them(name):
    plan = CONFIGURATIONS[name].plan(name)
    assert (plan.downsampling == "area") == (max(plan.spacing_mm) >= 2)


@rows
def test_widths_are_tried_from_the_methods_own_down(name):
    widths = CONFIGURATIONS[name].widths
    assert widths[0] == 1
    assert list(widths) == sorted(set(widths), reverse=True)


def test_the_papers_configuration_is_never_narrowed():
    assert candidates("paper", "cuda") == [("paper", 1.0)]


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_gpu_is_offered_the_paper_then_small_ever_narrower_then_demo(kind):
    tried = candidates(None, kind)
    assert list(dict.fromkeys(name for name, _ in tried)) == ["paper", "small", "demo"]
    small = [width for name, width in tried if name == "small"]
    assert len(small) > 1
    assert small == sorted(small, reverse=True)


def test_a_cpu_is_offered_what_it_trains_in_minutes():
    assert candidates(None, "cpu") == [("demo", 1.0)]


def test_the_user_comes_first():
    assert {name for name, _ in candidates("fullres", "cpu")} == {"fullres"}


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(PlansError, match="paper, fullres, small, demo"):
        candidates("full", "cuda")
