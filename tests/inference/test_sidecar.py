"""What stands beside a map is what the model and the case say of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dal_auto.inference.limits import LIMITS
from dal_auto.inference.remark import Remark
from dal_auto.inference.sidecar import sidecar

RAW = SimpleNamespace(sequences={"T1": Path("/scans/a_T1.nii.gz"), "T2": Path("/scans/é T2.nii")})
PREPARED = SimpleNamespace(
    case=SimpleNamespace(sequences=("T1", "T2"), steps=("N4: by nobody", "crop")),
    tools=("dal_auto 0", "greedy 1"),
    warnings=(Remark(text="it is odd"),),
)


@pytest.fixture
def model(plans, model_names):
    """What a sidecar asks of a model."""

    def make(
        threshold: float | None = None,
        joint: float | None = None,
        joint_trust: float = 1.0,
        **overrides,
    ) -> SimpleNamespace:
        return SimpleNamespace(
            plans=plans.override(overrides, "test"),
            request=SimpleNamespace(threshold=threshold),
            source=lambda _: "user" if threshold else "of healthy cases",
            joint_source=lambda _: "of healthy cases",
            joint_trust=lambda _: joint_trust,
            is_calibrated=lambda _: True,
            knows_joint=lambda _: joint is not None,
            joint_threshold=lambda _: joint,
            names=model_names,
            method=SimpleNamespace(score_words=lambda sequence: f"|x − y| of {sequence}"),
        )

    return make


def a_map(name: str, on: str = "T1", variant: str = "") -> SimpleNamespace:
    return SimpleNamespace(name=name, on=on, variant=variant, threshold=0.375)


def test_a_map_of_one_sequence_is_of_its_scan_alone(model, model_names):
    found = sidecar(model(), RAW, PREPARED, a_map("T2", "T2", "bright"))
    assert found["Description"].startswith("Anomaly map of T2, in the space of the T2 scan.")
    assert found["Sources"] == ["é T2.nii"], "the folder is nobody's business"
    assert found["score"]["meaning"] == "anomaly score of mean-brain"
    assert found["score"]["formula"] == {"T2": "|x − y| of T2"}
    assert found["score"]["variant"] == "bright"
    assert (found["threshold"], found["threshold_source"]) == (0.375, "of healthy cases")
    assert found["false_positive_rate"] == 0.001
    assert found["model"] == {
        name: value for name, value in model_names if name != "threshold_source"
    }
    assert found["steps"] == ["N4: by nobody", "crop"] and found["warnings"] == ["it is odd"]
    assert found["tools"] == ["dal_auto 0", "greedy 1"] and found["cannot_see"] == list(LIMITS)
    assert json.loads(json.dumps(found)) == found


def test_a_joint_threshold_of_drawn_heads_claims_no_false_positive_rate(model):
    """It is the root of what 0.1 % of the drawn heads exceed; fewer voxels exceed the root."""
    found = sidecar(model(joint=0.7, joint_trust=0.5), RAW, PREPARED, a_map("joint", "T2"))
    assert found["false_positive_rate"] is None
    assert found["threshold_source"].startswith("between 1, the threshold of each sequence, and")
    assert "to the power of 0.5" in found["threshold_source"]
    found = sidecar(model(joint=0.7), RAW, PREPARED, a_map("joint", "T2"))
    assert (found["false_positive_rate"], found["threshold_source"]) == (0.001, "of healthy cases")


@pytest.mark.parametrize(
    ("rule", "words"),
    [("roots", "squared mean of the square roots of"), ("mean", "mean of"), ("max", "maximum of")],
)
def test_the_joint_map_is_of_all_sequences_over_their_thresholds(model, rule, words):
    found = sidecar(model(**{"scoring.joint": rule}), RAW, PREPARED, a_map("joint", "T2"))
    assert found["Description"].startswith("Anomaly map of all of T1, T2, in the space of the T2")
    assert found["Sources"] == ["a_T1.nii.gz", "é T2.nii"]
    told = f"mean-brain: {words} the sequences' scores, each over its threshold"
    assert told in found["score"]["meaning"]
    assert set(found["score"]["formula"]) == {"T1", "T2"}
    assert found["threshold_source"] == "1 is the threshold of each sequence: of healthy cases"
    assert found["false_positive_rate"] is None


def test_a_threshold_of_the_user_has_no_rate(model):
    found = sidecar(model(0.5), RAW, PREPARED, a_map("T1"))
    assert (found["false_positive_rate"], found["threshold_source"]) == (None, "user")
    found = sidecar(model(0.5, joint=0.7), RAW, PREPARED, a_map("joint", "T2"))
    assert (found["false_positive_rate"], found["threshold_source"]) == (0.001, "of healthy cases")


def test_the_filters_are_those_of_the_plans(model):
    changed = model(
        **{
            "scoring.min_filter_mm": 1.5,
            "scoring.mean_filter_mm": 5.0,
            "scoring.guided_mm": 7.0,
            "scoring.guided_epsilon": 0.01,
            "scoring.erosion_mm": 2.0,
        }
    )
    found = sidecar(changed, RAW, PREPARED, a_map("T1"))["post_processing"]
    assert (found["minimum_filter_mm"], found["mean_filter_mm"]) == (1.5, 5.0)
    assert (found["guided_filter_mm"], found["guided_filter_epsilon"]) == (7.0, 0.01)
    assert found["brain_mask_erosion_mm"] == 2.0
