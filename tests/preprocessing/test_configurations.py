"""The named configurations, and which one a device gets."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.errors import PlansError
from dal_auto.plans import TrainingPlan
from dal_auto.preprocessing.configurations import CONFIGURATIONS, choose_configuration

rows = pytest.mark.parametrize("name", CONFIGURATIONS)


@rows
def test_every_grid_covers_the_standard_box(name):
    plan = CONFIGURATIONS[name].plan(name)
    np.testing.assert_allclose(np.multiply(plan.input_shape, plan.spacing_mm), (160, 224, 160))
    assert plan.name == name


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


@pytest.mark.parametrize(
    ("device", "memory_gb", "name"),
    [
        ("cuda", 80, "paper"),
        ("cuda", 40, "paper"),
        ("cuda", 39, "small"),
        ("cuda", 10, "small"),
        ("cuda", 6, "demo"),
        ("mps", 64, "paper"),
        ("cpu", 500, "demo"),
    ],
)
def test_the_device_gets_the_largest_that_fits(device, memory_gb, name):
    chosen, reason = choose_configuration(None, device, memory_gb)
    assert chosen == name
    assert reason == f"measured: {device} with {memory_gb} GB"


def test_the_user_comes_first():
    assert choose_configuration("fullres", "cpu", 1) == ("fullres", "user: asked for")


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(PlansError, match="paper, fullres, small, demo"):
        choose_configuration("full", "cuda", 80)
