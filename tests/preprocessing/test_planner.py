"""The planner: measurement decides the steps of a case; a run's plans say where all comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dal_auto.case import ClaimedState, RawCase
from dal_auto.errors import PlansError, UsageError
from dal_auto.plans import IntensityPlan, Plans, PreprocessingPlan
from dal_auto.preprocessing.configurations import CONFIGURATIONS
from dal_auto.preprocessing.fingerprint import CaseFingerprint, Fingerprint, ImageFingerprint
from dal_auto.preprocessing.planner import (
    DatasetDecisions,
    Hardware,
    decide_dataset,
    decide_steps,
    plan_run,
)
from dal_auto.standard_files import CaseRecord

CPU = Hardware("cpu", 16.0)


def raw(*sequences: str, brain_mask: bool = False, **claims: bool) -> RawCase:
    return RawCase(
        "D",
        "a",
        "a",
        {name: Path(f"{name}.nii.gz") for name in sequences or ("T1", "T2")},
        brain_mask=Path("brain.nii.gz") if brain_mask else None,
        claims=ClaimedState(**claims),
    )


def measured(
    stripped=False, dice=None, one_grid=True, overlap=1.0, case_id="a", sequences=("T1", "T2")
) -> CaseFingerprint:
    image = ImageFingerprint(
        shape=(240, 240, 155),
        spacing_mm=(1.0, 1.0, 1.0),
        axcodes="LPS",
        oblique_degrees=0.0,
        minimum=0.0,
        maximum=100.0,
        negative_voxels=0,
        nonzero_ml=1400.0 if stripped else 9000.0,
        stripped=stripped,
        atlas_dice=dice,
    )
    return CaseFingerprint(
        case_id=case_id,
        images=dict.fromkeys(sequences, image),
        one_grid=one_grid,
        nonzero_overlap=overlap,
    )


RAW = measured(one_grid=False)
BRATS = measured(stripped=True, dice=0.93)


@pytest.mark.parametrize(
    ("case", "found", "needed"),
    [
        (raw(), RAW, {"strip", "bias_correct", "coregister", "register_to_atlas"}),
        (raw("T2"), RAW, {"strip", "bias_correct", "register_to_atlas"}),
        (raw(), BRATS, {"bias_correct"}),
        (raw(bias_corrected=True), BRATS, set()),
        # Stripped, on one grid, but not on the atlas.
        (raw(), measured(stripped=True), {"bias_correct", "register_to_atlas"}),
        # Stripped on one grid, in two poses.
        (
            raw(),
            measured(stripped=True, overlap=0.9),
            {"bias_correct", "coregister", "register_to_atlas"},
        ),
        # One grid says nothing of the pose of heads with skull; the record may.
        (raw(), measured(), {"strip", "bias_correct", "coregister", "register_to_atlas"}),
        (raw(coregistered=True), measured(), {"strip", "bias_correct", "register_to_atlas"}),
        # Two grids are two grids, whatever is claimed.
        (raw(coregistered=True), RAW, {"strip", "bias_correct", "coregister", "register_to_atlas"}),
        # The dataset ships a brain mask.
        (raw(brain_mask=True), RAW, {"bias_correct", "coregister", "register_to_atlas"}),
        # Registered by name, on the grid, but in another pose.
        (
            raw(registered=True),
            measured(stripped=True, dice=0.6),
            {"bias_correct", "register_to_atlas"},
        ),
    ],
)
def test_the_steps_that_are_needed_follow_from_the_measurement(case, found, needed):
    steps = decide_steps(case, found)
    assert {name for name in type(steps).model_fields if getattr(steps, name) is True} == needed


def test_a_claim_that_the_measurement_contradicts_is_a_warning_with_both_values():
    steps = decide_steps(raw(stripped=True, registered=False), measured(dice=None))
    assert steps.warnings == ("a: the record says stripped=True, measured False",)
    steps = decide_steps(raw(stripped=False, registered=False), BRATS)
    assert len(steps.warnings) == 2
    assert decide_steps(raw(stripped=True, registered=True), BRATS).warnings == ()
    assert decide_steps(raw(), BRATS).warnings == ()


@pytest.fixture
def decisions() -> DatasetDecisions:
    names = ("a", "b", "c")
    cases = [RawCase("D", name, name, {"T1": Path("x")}) for name in names]
    found = (
        BRATS,
        measured(case_id="b", sequences=("T1",)),
        CaseFingerprint(case_id="c", images={}, finding="truncated"),
    )
    return decide_dataset(Fingerprint(dataset="D", cases=found), cases, PreprocessingPlan())


def test_a_case_that_cannot_be_read_gets_no_steps(decisions):
    assert list(decisions.steps) == ["a", "b"]


def test_the_summary_counts_the_cases_of_each_step_and_says_what_falls_away(decisions):
    lines = decisions.summary()
    assert "  skull stripping (deepbet): 1 of 2 cases" in lines
    assert "  N4 bias correction: 2 of 2 cases" in lines
    assert "  rigid between sequences (greedy): falls away" in lines
    assert "  rigid to SRI24 (greedy): 1 of 2 cases" in lines


def test_decisions_survive_json(decisions):
    assert DatasetDecisions.parse(decisions.model_dump(mode="json")) == decisions


def test_a_decision_from_another_version_is_an_error_that_names_its_key(decisions):
    content = decisions.model_dump(mode="json")
    content["steps"]["a"]["stripp"] = True
    with pytest.raises(PlansError) as caught:
        DatasetDecisions.parse(content)
    assert caught.value.key == "steps.a.stripp"
    assert "known keys: bias_correct, coregister, register_to_atlas, strip" in str(caught.value)


def test_hardware_without_gpu_is_the_cpu_and_its_memory():
    found = Hardware.measure("cpu")
    assert found.device == "cpu"
    total_kb = int(Path("/proc/meminfo").read_text().split()[1])
    assert found.memory_gb == pytest.approx(total_kb * 1024 / 1e9, rel=0.01)


def record(patient: str, t1=(0.0, 1.0, 4.0), sequences=("T1", "T2")) -> CaseRecord:
    values = {"T1": list(t1), "T2": [0.0, 2.0, 4.0]}
    content = {
        "case_id": patient,
        "patient_id": patient,
        "sequences": list(sequences),
        "percentiles": {name: values[name] for name in sequences},
    }
    return CaseRecord(Path(f"{patient}.json"), content)


def planned(**options) -> Plans:
    options = {
        "training_set": "IXI",
        "preprocessing": PreprocessingPlan(),
        "records": [record("a"), record("b", (10.0, 17.5, 20.0))],
        "hardware": CPU,
    } | options
    return plan_run(**options)


def test_landmarks_are_learned_from_the_cases_that_have_all_sequences():
    plans = planned(
        records=[record("a"), record("b", (10, 17.5, 20)), record("c", (0, 4, 4), ("T1",))]
    )
    low, high = IntensityPlan().standard_range
    np.testing.assert_allclose(plans.intensity.landmarks["T1"], (low, (low + high) / 2, high))
    assert set(plans.intensity.landmarks) == {"T1", "T2"}
    assert plans.all_sources()["intensity.landmarks"] == "measured: mean of 2 cases of IXI"


def test_the_configuration_follows_the_hardware_and_says_so():
    plans = planned()
    assert plans.configuration == CONFIGURATIONS["demo"].plan("demo")
    assert plans.all_sources()["configuration.name"] == "measured: cpu with 16 GB"
    assert plans.training.steps == CONFIGURATIONS["demo"].training["steps"][0]


def test_the_papers_epochs_become_steps_by_patients_not_cases():
    cases = [record(patient) for patient in "abcdef"] + [record("a"), record("b")]
    plans = planned(records=cases, configuration="paper")
    assert plans.training.steps == 150 * 3  # two patients a step
    assert plans.all_sources()["training.steps"] == "paper: §4.2.1, 150 epochs of 6 patients"


def test_the_paper_preset_keeps_the_papers_optimiser_and_trains_on_all():
    robust, paper = planned(), planned(preset="paper")
    assert paper.training.learning_rate == 1e-4 != robust.training.learning_rate
    assert paper.training.validation_fraction == 0 != robust.training.validation_fraction
    sources = paper.all_sources()
    assert sources["training.learning_rate"].startswith("paper:")
    assert sources["training.validation_fraction"].startswith("paper:")


def test_every_value_but_the_users_choices_has_a_source():
    without = [key for key, _, source in planned().flat() if not source]
    assert without == ["training_set", "sequences", "method.name"]


def test_what_the_user_sets_wins_and_is_marked():
    plans = planned(overrides={"training.steps": 3, "method.settings.classes": 4})
    assert plans.training.steps == 3
    assert plans.method.settings["classes"] == 4
    assert plans.all_sources()["training.steps"] == "user: --set"
    assert plans.all_sources()["method.settings.classes"] == "user: --set"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.setps", 3),
        ("method.settings.clases", 3),
        ("method.settings.classes", 1),
        ("method.settings.classes", "three"),
    ],
)
def test_a_wrong_setting_is_refused_before_training_and_named(key, value):
    with pytest.raises(PlansError) as caught:
        planned(overrides={key: value})
    assert caught.value.key == key


def test_unknown_methods_and_configurations_are_refused():
    with pytest.raises(UsageError, match="DAL"):
        planned(method="GAL")
    with pytest.raises(PlansError, match="known: paper"):
        planned(configuration="huge")
