"""The plans of a run: fitted to memory, told by the user, and every value knows its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dal_auto.errors import PlansError, UsageError
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.registry import find_method
from dal_auto.planning import configurations
from dal_auto.planning import training_plans as run_plans
from dal_auto.planning.configurations import CONFIGURATIONS
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.memory import Memory, memory_of
from dal_auto.planning.training_plans import plan_run
from dal_auto.planning.wishes import PlannedRun, Wishes
from dal_auto.plans import IntensityPlan, PreprocessingPlan, read_assignments
from dal_auto.store.standard_cases import CaseRecord

CPU = Hardware("cpu", 16.0)


@pytest.fixture(autouse=True)
def _needs(monkeypatch) -> None:
    """GB that each configuration is said to need at full width; counting them has its own tests."""
    table = {"paper": 40.0, "fullres": 100.0, "small": 16.0, "demo": 1.0}

    def memory(plans, kind):
        configuration = plans.configuration
        gb = table.get(configuration.name, 1.0) * configuration.width
        if plans.method.settings.get("checkpoint_activations"):
            gb /= 4
        return Memory(1000, gb, gb / 10, "measured: by the test")

    monkeypatch.setattr(run_plans, "memory_of", memory)


def record(
    patient: str,
    t1: tuple[float, ...] = (0.0, 1.0, 4.0),
    sequences: tuple[str, ...] = ("T1", "T2"),
    lesion: bool = False,
) -> CaseRecord:
    values = {"T1": t1, "T2": (0.0, 2.0, 4.0)}
    return CaseRecord.model_construct(
        path=Path(f"{patient}.json"),
        case_id=patient,
        patient_id=patient,
        sequences=sequences,
        has_lesion_mask=lesion,
        percentiles={name: values[name] for name in sequences},
    )


def planned(
    hardware: Hardware = CPU,
    records: list[CaseRecord] | None = None,
    preprocessing: PreprocessingPlan | None = None,
    **wishes: Any,
) -> PlannedRun:
    return plan_run(
        training_set="IXI",
        preprocessing=preprocessing or PreprocessingPlan(),
        records=records or [record("a"), record("b", (10.0, 17.5, 20.0))],
        hardware=hardware,
        wishes=Wishes(**wishes),
    )


#: A user who has memory, or thinks so.
KEPT = {"method.settings.checkpoint_activations": False}


def source(run: PlannedRun, key: str) -> str:
    return run.plans.all_sources()[key]


def test_landmarks_are_learned_from_the_healthy_cases_that_have_a_sequence():
    run = planned(
        records=[
            record("a", sequences=("T2",)),
            record("b", (10, 17.5, 20)),
            record("c", (0, 1, 4), ("T1",)),
            record("d", (0, 4, 4), lesion=True),
            record("e", sequences=("T2",)),
        ]
    )
    low, high = IntensityPlan().standard_range
    np.testing.assert_allclose(run.plans.intensity.landmarks["T1"], (low, (low + high) / 2, high))
    assert set(run.plans.intensity.landmarks) == {"T1", "T2"}
    assert source(run, "intensity.landmarks") == "measured: mean of 2 (T1), 3 (T2) cases of IXI"
    assert run.warnings == ()


def test_a_cohort_without_pairs_is_warned_of():
    run = planned(records=[record("a", sequences=("T1",)), record("b", sequences=("T2",))])
    (warning,) = run.warnings
    assert "no case has more than one of T1, T2" in warning


@pytest.mark.parametrize(
    "records",
    [
        [record("a", sequences=("T1",)), record("b", sequences=("T1",))],
        [record("a", lesion=True)],
    ],
)
def test_without_a_healthy_case_of_a_sequence_there_are_no_plans(records):
    with pytest.raises(UsageError, match=r"no healthy case of IXI has (T1|T2) ") as caught:
        planned(records=records)
    if len(records) == 2:
        assert "2 have T1" in str(caught.value)


@pytest.mark.parametrize(
    ("gb", "name", "width"),
    [
        *((80, "paper", 1), (40, "paper", 1), (39, "small", 1), (12, "small", 0.75)),
        *((8, "small", 0.5), (4, "small", 0.25), (3, "demo", 1)),
    ],
)
def test_a_gpu_gets_the_best_that_fits_and_says_why(gb, name, width):
    run = planned(Hardware("cuda", gb), assignments=KEPT)
    assert (run.plans.configuration.name, run.plans.configuration.width) == (name, width)
    assert run.fits
    assert run.warnings == ()
    reason = source(run, "configuration.name")
    assert reason.startswith(f"measured: cuda with {gb} GB; {name} needs {run.memory.training_gb}")
    assert "paper needs 40.0 GB" in reason


@pytest.mark.parametrize(
    ("gb", "name", "again"),
    [(40, "paper", False), (39, "paper", True), (10, "paper", True), (9, "small", True)],
)
def test_time_is_given_before_the_grid_or_the_widths(gb, name, again):
    run = planned(Hardware("cuda", gb))
    assert (run.plans.configuration.name, run.plans.configuration.width) == (name, 1)
    assert run.plans.method.settings["checkpoint_activations"] is again
    said = source(run, "method.settings.checkpoint_activations")
    assert said.startswith(f"measured: cuda with {gb} GB" if again else "ours:")
    reason = source(run, "configuration.name")
    assert "paper needs 40.0 GB" in reason
    assert ("paper, activations computed again, needs 10.0 GB" in reason) is again


def test_a_method_that_cannot_compute_again_is_planned_all_the_same():
    run = planned(Hardware("cuda", 12), method="AE")
    assert run.plans.configuration.width == 0.75 and run.fits


def test_settings_that_are_narrower_to_fit_say_so():
    full, half = (planned(Hardware("cuda", gb), assignments=KEPT) for gb in (20, 8))
    key = "method.settings.anatomy_widths"
    assert source(half, "configuration.width").startswith("measured: cuda with 8 GB; 0.5 of")
    assert source(half, key) == source(half, "configuration.width")
    assert source(full, key).startswith("ours:")
    assert (
        half.plans.method.settings["code_channels"] * 2
        == (full.plans.method.settings["code_channels"])
    )
    same = "method.settings.modality_widths"
    assert source(half, same) == source(full, same)


def test_a_cpu_gets_what_it_trains_in_minutes_whatever_its_memory():
    run = planned(Hardware("cpu", 500))
    assert run.plans.configuration == CONFIGURATIONS["demo"].plan("demo")
    assert source(run, "configuration.name").startswith("measured: cpu with 500 GB; ")
    assert run.plans.training.steps == CONFIGURATIONS["demo"].training["steps"][0]


def test_on_paper_is_another_source_than_measured():
    run = planned(Hardware("cuda", 24, on_paper=True))
    assert source(run, "configuration.name").startswith("user: --device-memory, cuda with 24 GB;")


def test_what_the_user_asks_for_and_does_not_fit_is_planned_with_a_warning_that_names_what_does():
    run = planned(Hardware("cuda", 24), configuration="paper", assignments=KEPT)
    assert run.plans.configuration.name == "paper"
    assert not run.fits
    (warning,) = run.warnings
    assert "paper needs 40.0 GB" in warning
    assert "-c small fits with 16.0" in warning
    assert source(run, "configuration.name") == "user: asked for; paper needs 40.0 GB"


def test_where_nothing_fits_the_warning_says_that():
    run = planned(Hardware("cuda", 0.5), configuration="small")
    (warning,) = run.warnings
    assert "no configuration fits" in warning
    assert run.plans.configuration.width == CONFIGURATIONS["small"].widths[-1]
    assert "the least that is tried" in source(run, "configuration.width")


def test_the_needs_are_those_that_are_counted(monkeypatch):
    monkeypatch.setattr(run_plans, "memory_of", memory_of)
    run = planned(configuration="demo")
    assert run.memory == memory_of(run.plans, "cpu")
    assert run.memory.weights > 100_000


def test_mixed_precision_follows_the_device_unless_the_user_says_otherwise(monkeypatch):
    halves = {"cpu": None}
    monkeypatch.setattr(configurations, "half_precision", halves.get)
    assert planned(Hardware("cuda", 24)).plans.training.amp is True
    on_cpu = planned()
    assert on_cpu.plans.training.amp is False
    assert source(on_cpu, "training.amp").startswith("ours:")
    halves["cpu"] = torch.bfloat16
    assert planned().plans.training.amp is True
    tiny = planned(configuration="demo", assignments={"configuration.input_shape": [16, 16, 16]})
    assert tiny.plans.training.amp is False
    told = planned(Hardware("cuda", 24), assignments={"training.amp": False})
    assert told.plans.training.amp is False
    assert source(told, "training.amp") == "user: --set"


def test_the_papers_epochs_become_steps_by_patients_not_cases():
    cases = [record(patient) for patient in "abcdef"] + [record("a"), record("b")]
    run = planned(records=cases, configuration="paper")
    assert run.plans.training.steps == 150 * 3  # two patients a step
    assert source(run, "training.steps") == "paper: §4.2.1, 150 epochs of 6 patients"


def test_the_paper_preset_keeps_the_papers_optimiser_and_trains_on_all():
    robust, paper = planned(), planned(preset="paper")
    assert paper.plans.training.learning_rate == 1e-4 != robust.plans.training.learning_rate
    assert paper.plans.training.decay_power == 0 != robust.plans.training.decay_power
    assert paper.plans.training.validation_fraction == 0
    assert robust.plans.training.validation_fraction != 0
    assert source(paper, "training.learning_rate").startswith("paper:")
    assert source(paper, "training.validation_fraction").startswith("paper:")
    assert source(paper, "method.preset") == "user: asked for"


@pytest.mark.parametrize(
    ("method", "rate"),
    [("RD4AD", 5e-3), ("FPI", 1e-3), ("MKD", 1e-3), ("PHANES", 5e-5), ("AE", 1e-4)],
)
def test_the_paper_preset_keeps_a_comparison_methods_own_learning_rate(method, rate):
    run = planned(preset="paper", method=method)
    assert run.plans.training.learning_rate == rate
    own = find_method(method).own_training.get("learning_rate")
    why = f"paper: {own[1]}" if own else "paper: §4.2.1, Adam"
    assert source(run, "training.learning_rate") == why


def test_every_value_has_a_source_of_a_known_kind():
    kinds = ("paper: ", "measured: ", "ours: ", "user: ")
    for run in (planned(), planned(Hardware("cuda", 8)), planned(method="mean-brain")):
        assert [r for r in run.plans.flat() if r[1] != {} and not r[2].startswith(kinds)] == []


def test_values_of_the_chain_that_the_user_chose_are_not_passed_off_as_ours():
    run = planned(preprocessing=PreprocessingPlan(n4_spacing_mm=6.0, atlas_sha256="abc"))
    assert source(run, "preprocessing.n4_spacing_mm").startswith("user:")
    assert source(run, "preprocessing.atlas_sha256").startswith("measured:")
    assert source(run, "preprocessing.target_shape").startswith("paper:")


def test_what_the_user_sets_wins_and_is_marked():
    run = planned(assignments={"training.steps": 3, "method.settings.classes": 4})
    assert run.plans.training.steps == 3
    assert run.plans.method.settings["classes"] == 4
    assert source(run, "training.steps") == "user: --set"
    assert source(run, "method.settings.classes") == "user: --set"
    assert run.overrides == {"training.steps": 3, "method.settings.classes": 4}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("method.preset", "paper", "--preset"),
        ("method.name", "AE", "-m"),
        ("configuration.name", "paper", "-c"),
        ("sequences", ["T1"], "--sequences"),
        ("training_set", "BraTS-GLI", "-d"),
        ("training", {"steps": 5}, "one value at a time"),
        ("preprocessing", {"skull_strip": "robex"}, "one value at a time"),
        ("value_sources.a", "b", "one value at a time"),
        ("intensity.standard_range", [0.9, 0.1], "the smaller first"),
    ],
)
def test_what_other_values_follow_from_is_not_set_by_itself(key, value, said):
    with pytest.raises(PlansError, match=said) as caught:
        planned(assignments={key: value})
    assert caught.value.key == key


def test_landmarks_follow_the_range_of_the_users_own():
    run = planned(assignments={"intensity.standard_range": [0.1, 0.5]})
    for landmarks in run.plans.intensity.landmarks.values():
        assert (landmarks[0], landmarks[-1]) == pytest.approx((0.1, 0.5))


def test_another_visit_of_a_patient_with_a_lesion_is_not_healthy():
    visit = record("a").model_copy(update={"case_id": "a2", "has_lesion_mask": True})
    run = planned(records=[record("a", (0.0, 9.0, 10.0)), visit, record("b")])
    alone = planned(records=[record("b")])
    assert run.plans.intensity == alone.plans.intensity


def test_the_method_and_the_spacing_follow_a_grid_of_the_users_own():
    run = planned(configuration="demo", assignments={"configuration.input_shape": [112, 160, 112]})
    assert run.plans.configuration.spacing_mm == CONFIGURATIONS["paper"].plan("paper").spacing_mm
    assert run.plans.configuration.window == (112, 160, 112)
    assert run.plans.configuration.downsampling == "trilinear"
    assert run.plans.method.settings["downsamplings"] == 2
    assert source(run, "configuration.input_shape") == "user: --set"
    assert source(run, "configuration.spacing_mm").startswith("ours: follows from")


def test_a_spacing_that_the_grid_does_not_have_is_refused():
    with pytest.raises(PlansError) as caught:
        planned(assignments={"configuration.spacing_mm": [2.0, 2.0, 2.0]})
    assert caught.value.key == "configuration.spacing_mm"


def test_a_width_of_the_users_own_is_not_narrowed_further():
    run = planned(
        Hardware("cuda", 1), configuration="small", assignments={"configuration.width": 0.6}
    )
    assert run.plans.configuration.width == 0.6
    assert source(run, "configuration.width") == "user: --set"
    assert not run.fits


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.setps", 3),
        ("method.settings.clases", 3),
        ("method.settings.classes", 1),
        ("method.settings.classes", "three"),
        ("configuration.width", "half"),
        ("configuration.width", 2),
        ("configuration.inputshape", [8, 8, 8]),
    ],
)
@pytest.mark.parametrize("told", ["assignments", "from_file"])
def test_a_wrong_value_is_refused_before_training_and_named(key, value, told):
    with pytest.raises(PlansError) as caught:
        planned(**{told: {key: value}})
    assert caught.value.key == key


@pytest.mark.parametrize("told", ["assignments", "from_file"])
def test_a_run_cannot_choose_another_chain_than_its_cases_went_through(told):
    same = {"preprocessing.skull_strip": "deepbet"}
    assert planned(**{told: same}).plans.preprocessing.skull_strip == "deepbet"
    with pytest.raises(PlansError, match="were preprocessed with 'deepbet'") as caught:
        planned(**{told: {"preprocessing.skull_strip": "robex"}})
    assert caught.value.key == "preprocessing.skull_strip"


def test_unknown_methods_and_configurations_are_refused():
    with pytest.raises(UsageError, match="DAL"):
        planned(method="GAL")
    with pytest.raises(PlansError, match="known: paper"):
        planned(configuration="huge")


def test_a_whole_plans_file_brings_back_its_run_without_overrides(tmp_path):
    first = planned(Hardware("cuda", 8))
    (tmp_path / "plans.json").write_text(json.dumps(first.plans.to_json()))
    again = planned(
        Hardware("cuda", 8),
        configuration="small",
        from_file=read_assignments(tmp_path / "plans.json"),
    )
    assert again.overrides == {}
    assert again.plans.model_dump(exclude={"value_sources"}) == first.plans.model_dump(
        exclude={"value_sources"}
    )
    changed = {
        key for key, value in again.plans.all_sources().items() if value.startswith("file: --plans")
    }
    assert changed == {"configuration.name"}


def test_a_plans_file_wins_over_the_planner_and_the_user_over_the_file():
    run = planned(
        from_file={"training.steps": 7, "training.learning_rate": 0.5, "training_set": "IXI"},
        assignments={"training.steps": 9},
    )
    assert (run.plans.training.steps, run.plans.training.learning_rate) == (9, 0.5)
    assert source(run, "training.steps") == "user: --set"
    assert source(run, "training.learning_rate") == "file: --plans"
    assert run.overrides == {"training.steps": 9, "training.learning_rate": 0.5}


def test_a_file_with_another_machines_plans_is_followed_and_noted(monkeypatch):
    monkeypatch.setattr(configurations, "half_precision", lambda kind: None)
    on_gpu = planned(Hardware("cuda", 8))
    values = {key: value for key, value, _ in on_gpu.plans.flat()}
    here = planned(configuration="small", from_file=values)
    assert here.plans.training.amp is True
    assert here.overrides == {"training.amp": True}


def test_kernels_in_voxels_and_memory_stand_beside_the_plans():
    rows = {key: (value, source) for key, value, source in planned().derived()}
    assert rows["min_filter in voxels"][0] == [1, 1, 1]
    assert rows["guided in voxels"][0] == [9, 9, 9]
    assert rows["mean_filter in voxels"][0] == [9, 9, 9]
    assert rows["SSIM's σ in mm"][0] == [6.0, 6.0, 6.0]
    assert rows["memory to train"] == ("1.0 of 16.0 GB", "measured: by the test")


def test_the_papers_filters_are_the_paper_presets_and_robust_has_its_own():
    literal, robust = (planned(preset=name).plans for name in ("paper", "robust"))
    assert (literal.scoring.min_filter_mm, literal.scoring.guided_mm) == (3, 0)
    assert (robust.scoring.min_filter_mm, robust.scoring.guided_mm) == (0, 9)
    for key in ("scoring.min_filter_mm", "scoring.guided_mm"):
        assert literal.all_sources()[key].startswith("paper: §3.5.2")
        assert robust.all_sources()[key].startswith("ours: ")


def test_a_method_has_its_papers_optimiser_but_for_what_the_grid_asks_for():
    run = planned(method="DAE", configuration="demo")
    assert run.plans.training.clip_norm == 0.5
    assert source(run, "training.clip_norm") == "paper: the published code"
    assert planned(method="AE", configuration="demo").plans.training.beta1 == 0.5
    assert planned(configuration="demo").plans.training.beta1 == 0.9
    assert run.plans.training.steps == planned(configuration="demo").plans.training.steps


def test_what_a_method_trains_with_in_its_robust_preset_is_ours_and_not_the_papers(monkeypatch):
    monkeypatch.setattr(DAL, "robust_training", {"corruption": (0.6, "a reason")})
    robust, literal = planned(preset="robust"), planned(preset="paper")
    assert robust.plans.training.corruption == 0.6
    assert source(robust, "training.corruption") == "ours: a reason"
    assert literal.plans.training.corruption == 0
