"""Measurement decides the steps of a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from dal_auto.case import ClaimedState, RawCase
from dal_auto.errors import PlansError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.fingerprint.dataset import (
    CaseFingerprint,
    Fingerprint,
    ImageFingerprint,
)
from dal_auto.preprocessing.fingerprint.kinds import UNREADABLE
from dal_auto.preprocessing.steps import (
    DatasetDecisions,
    brain_size_line,
    decide_dataset,
    decide_steps,
)


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
    named = set(type(steps).model_fields) - {"strip_if_doubtful"}
    assert {name for name in named if getattr(steps, name) is True} == needed


def test_a_claim_that_the_measurement_contradicts_is_a_warning_with_both_values():
    steps = decide_steps(raw(stripped=True, registered=False), measured(dice=None))
    (warning,) = steps.warnings
    assert "a: said to be stripped=True, measured False" in warning
    steps = decide_steps(raw(stripped=False, registered=False), BRATS)
    assert len(steps.warnings) == 2
    (warning,) = decide_steps(raw(registered=True), measured(stripped=True, dice=0.79)).warnings
    assert "overlap with the atlas's brain: T1 0.79, T2 0.79" in warning
    assert decide_steps(raw(stripped=True, registered=True), BRATS).warnings == ()
    assert decide_steps(raw(), BRATS).warnings == ()


@pytest.mark.parametrize(("said", "found"), [(True, RAW), (False, BRATS)])
def test_of_the_skull_what_is_said_counts(said, found):
    assert decide_steps(raw(stripped=said), found).strip is not said
    assert decide_steps(raw(), found).strip is said


def test_where_the_skull_was_only_measured_the_tools_may_be_asked_after_all():
    assert decide_steps(raw(), BRATS).strip_if_doubtful
    assert not decide_steps(raw(stripped=True), BRATS).strip_if_doubtful
    assert not decide_steps(raw(brain_mask=True), BRATS).strip_if_doubtful
    assert not decide_steps(raw(), RAW).strip_if_doubtful


@pytest.fixture
def decisions() -> DatasetDecisions:
    names = ("a", "b", "c")
    cases = [RawCase("D", name, name, {"T1": Path("x")}) for name in names]
    found = (
        BRATS,
        measured(case_id="b", sequences=("T1",)),
        CaseFingerprint(case_id="c", images={}, findings=(UNREADABLE.found("truncated"),)),
    )
    return decide_dataset(Fingerprint(dataset="D", cases=found), cases, PreprocessingPlan())


def test_a_case_that_cannot_be_read_gets_no_steps(decisions):
    assert list(decisions.steps) == ["a", "b"]


def test_the_summary_counts_the_cases_of_each_step_and_says_what_falls_away(decisions):
    lines = decisions.summary()
    assert "  skull stripping (deepbet): 1 of 2 cases" in lines
    assert "  N4 bias correction: 2 of 2 cases" in lines
    assert "  rigid between sequences (greedy): not needed" in lines
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


def in_their_own_space(*brains_ml: float, stripped_on_atlas: bool = False) -> DatasetDecisions:
    dice = 0.93 if stripped_on_atlas else None
    found = tuple(
        measured(stripped=True, dice=dice, case_id=str(i)).model_copy(update={"brain_ml": ml})
        for i, ml in enumerate(brains_ml)
    )
    cases = [RawCase("D", case.case_id, case.case_id, {"T1": Path("x")}) for case in found]
    return decide_dataset(Fingerprint(dataset="D", cases=found), cases, PreprocessingPlan())


def test_brains_are_measured_against_the_atlas_where_they_come_stripped(atlas):
    atlas_ml = float((atlas.image > 0).sum()) / 1000
    decisions = in_their_own_space(0.5 * atlas_ml, 1.25 * atlas_ml, 2 * atlas_ml)
    assert decisions.brain_size == 1.25
    assert DatasetDecisions.parse(decisions.model_dump(mode="json")) == decisions


def test_the_summary_says_what_rigid_costs_brains_that_were_scaled_up(atlas):
    scaled = in_their_own_space(1.3 * atlas.brain_mask.sum() / 1000)
    (line,) = [line for line in scaled.summary() if "median brain" in line]
    assert "1.30 times the volume of SRI24's" in line
    assert "preprocessing.atlas_transform=affine" in line


def test_nothing_is_said_of_brains_that_are_on_the_atlas_already(atlas):
    decisions = in_their_own_space(1.3 * atlas.brain_mask.sum() / 1000, stripped_on_atlas=True)
    assert not [line for line in decisions.summary() if "median brain" in line]


def test_brains_of_about_the_atlass_size_and_affine_need_no_advice():
    plan = PreprocessingPlan()
    assert "affine" not in brain_size_line(0.95, plan)
    affine = plan.model_copy(update={"atlas_transform": "affine"})
    line = brain_size_line(1.3, affine)
    assert "to the atlas's size" in line
    assert "--set" not in line


def test_brains_with_skull_have_no_size_yet(decisions):
    assert decisions.brain_size is None


def test_the_step_to_the_atlas_is_named_by_its_transform(decisions):
    affine = PreprocessingPlan().model_copy(update={"atlas_transform": "affine"})
    lines = decisions.model_copy(update={"preprocessing": affine}).summary()
    assert "  affine to SRI24 (greedy): 1 of 2 cases" in lines
