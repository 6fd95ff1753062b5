"""DAL's presets: depth by spacing, width by size, and the paper's preset is literal."""

from __future__ import annotations

import pytest

from dal_auto.case import Shape
from dal_auto.errors import PlansError
from dal_auto.methods.dal.settings import DalSettings, settings_for
from dal_auto.plans import ConfigurationPlan


def configuration(spacing_mm: float, shape: Shape = (112, 160, 112)) -> ConfigurationPlan:
    return ConfigurationPlan(
        name="any", input_shape=shape, spacing_mm=(spacing_mm,) * 3, window=shape
    )


@pytest.mark.parametrize(
    ("spacing_mm", "downsamplings"),
    [(1.0, 2), (1.43, 2), (1.5, 2), (1.51, 1), (2.0, 1), (3.0, 1), (4.0, 0), (6.0, 0), (8.0, 0)],
)
def test_the_codes_grid_is_at_6_mm_or_finer_where_the_input_is(spacing_mm, downsamplings):
    assert settings_for("robust", configuration(spacing_mm)).downsamplings == downsamplings


def test_the_paper_preset_is_literal():
    settings = settings_for("paper", configuration(1.43))
    assert settings.similarity_of == "merged"
    assert settings.code_consistency == "plain"
    assert settings.warm_start_steps == 0
    assert (settings.classes, settings.modality_widths[-1]) == (3, 256)
    assert (settings.margin_anatomy, settings.margin_modality) == (0.2, 0.5)
    weights = ("reconstruction", "anatomy", "modality", "code")
    assert [getattr(settings, f"weight_{name}") for name in weights] == [1.0, 0.1, 1.0, 1.0]


def test_presets_differ_in_the_steps_of_the_recipe_and_in_no_size():
    robust, paper = (settings_for(p, configuration(1.43)).model_dump() for p in ("robust", "paper"))
    assert {key for key in robust if robust[key] != paper[key]} == {
        "similarity_of",
        "code_consistency",
        "statistics",
        "atlas_prior",
        "teacher_forcing",
        "weight_labels",
        "combinations",
        "modality_pull",
        "fitted_contrast",
        "edge_noise",
        "polarity",
        "tolerant",
        "difference_power",
        "neighbourhood_mm",
    }


def test_coarse_grids_get_narrow_networks_with_the_papers_256_modality_channels():
    small, large = (
        settings_for("robust", configuration(4.0, shape)) for shape in ((40, 56, 40), (80, 112, 80))
    )
    assert max(small.anatomy_widths) < max(large.anatomy_widths)
    assert small.code_channels < large.code_channels
    assert small.modality_widths[-1] == large.modality_widths[-1] == 256


def test_a_share_of_the_widths_leaves_depth_and_modality_as_they_are():
    full = settings_for("robust", configuration(1.43))
    half = settings_for("robust", configuration(1.43).model_copy(update={"width": 0.5}))
    narrowed = ("anatomy_widths", "code_channels", "context_widths")
    assert half.anatomy_widths == tuple(width // 2 for width in full.anatomy_widths)
    assert half.code_channels * 2 == full.code_channels
    assert half.model_dump(exclude=set(narrowed)) == full.model_dump(exclude=set(narrowed))


def test_no_width_falls_to_nothing():
    tiny = configuration(4.0, (40, 56, 40)).model_copy(update={"width": 0.01})
    assert min(settings_for("robust", tiny).anatomy_widths) == 1


def test_every_setting_says_whether_it_is_the_papers_or_ours():
    sources = settings_for("robust", configuration(1.43)).sources("method.settings")
    assert set(sources) == {f"method.settings.{name}" for name in DalSettings.model_fields}
    assert all(source.startswith(("paper: ", "ours: ")) for source in sources.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", 1), ("downsamplings", -1), ("similarity_of", "both"), ("weight_code", -0.5)],
)
def test_values_that_make_no_sense_are_refused_by_name(key, value):
    with pytest.raises(PlansError, match=rf"method\.settings\.{key}"):
        DalSettings.parse({key: value}, "method.settings")
