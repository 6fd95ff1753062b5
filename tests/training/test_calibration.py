"""Practical thresholds: of each sequence, of the joint map, of a lab's own healthy cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dal_auto.case import StandardCase
from dal_auto.errors import UsageError
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import Checkpoint, Older, load_checkpoint, save_checkpoint
from dal_auto.methods.mean_brain import MeanBrain
from dal_auto.methods.method import Detection
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.scoring.joint import joint_score
from dal_auto.store.standard_cases import CaseRecord, read_case
from dal_auto.training import calibration
from dal_auto.training.calibration import (
    HealthyCases,
    Thresholds,
    calibration_records,
    practical_thresholds,
    recalibrated,
)
from dal_auto.training.run import calibration_cases


@pytest.fixture
def mean_brain(make_cohort, make_plans) -> MeanBrain:
    plans = make_plans("mean-brain", scoring__mean_filter_mm=3.0)
    method, cohort = MeanBrain(plans), make_cohort(plans)
    method.fit_cohort(cohort.batch([index]) for index in range(3))
    return method


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
def test_at_most_the_stated_share_of_the_median_healthy_brain_lies_above(
    mean_brain, make_cohort, rate
):
    plans = mean_brain.plans.override({"scoring.false_positive_rate": rate}, "test")
    method = MeanBrain(plans)
    method.load_tensors(mean_brain.tensors())
    cohort = make_cohort(plans, [3, 4, 5])
    thresholds = practical_thresholds(method, [HealthyCases(cohort.records)], "cpu").scores
    assert set(thresholds) == {"T1", "T2"}
    for sequence, threshold in thresholds.items():
        scores = []
        for record in cohort.records:
            case = read_case(record)
            score = predict(method, case, sequence, "cpu").anomaly[""]
            # What a bin of the pooled curve is: float16.
            scores.append(score[case.brain_mask].astype(np.float16).astype(np.float64))
        below = np.nextafter(np.float16(threshold), np.float16(0)).astype(np.float64)
        assert np.median([np.mean(score >= threshold) for score in scores]) <= rate
        assert np.median([np.mean(score >= below) for score in scores]) > rate, "the smallest"


def test_the_joint_map_of_the_median_healthy_brain_has_the_stated_share_above(
    mean_brain, make_cohort
):
    plans = mean_brain.plans.override({"scoring.false_positive_rate": 0.02}, "test")
    method = MeanBrain(plans)
    method.load_tensors(mean_brain.tensors())
    cohort = make_cohort(plans, [3, 4, 5])
    found = practical_thresholds(method, [HealthyCases(cohort.records)], "cpu")
    assert set(found.joint) == {"T1+T2"}
    shares = []
    for record in cohort.records:
        case = read_case(record)
        scores = {name: predict(method, case, name, "cpu").anomaly[""] for name in case.sequences}
        plan = plans.scoring
        score = joint_score(scores, found.scores, plan.joint, plan.joint_weights)
        kept = score[case.brain_mask].astype(np.float16)
        shares.append(np.mean(kept >= np.float16(found.joint["T1+T2"])))
    assert 0 < np.median(shares) <= 0.02
    assert found.joint["T1+T2"] < 1, "sequences seldom err at one place"


def test_drawn_heads_are_trusted_half_way_for_the_joint_map(mean_brain, make_cohort):
    records = make_cohort(mean_brain.plans, [3, 4]).records
    real = practical_thresholds(mean_brain, [HealthyCases(records)], "cpu")
    drawn = practical_thresholds(mean_brain, [HealthyCases(records, drawn=True)], "cpu")
    assert drawn.scores == real.scores
    assert drawn.joint["T1+T2"] == pytest.approx(real.joint["T1+T2"] ** 0.5)


def test_of_several_groups_the_highest_threshold_counts(mean_brain, make_cohort):
    """So that no scanner's healthy people are marked more than the stated share."""
    a, b = (HealthyCases(make_cohort(mean_brain.plans, ids).records) for ids in ([3], [4]))
    one, other, both = (
        practical_thresholds(mean_brain, groups, "cpu") for groups in ([a], [b], [a, b])
    )
    assert one.scores != other.scores
    assert both.scores == {key: max(value, other.scores[key]) for key, value in one.scores.items()}
    assert practical_thresholds(mean_brain, [b, a], "cpu") == both
    # Of the joint map, too, which is made of scores over the common thresholds.
    shares = []
    for record in (*a.records, *b.records):
        case, plan = read_case(record), mean_brain.plans.scoring
        scores = {n: predict(mean_brain, case, n, "cpu").anomaly[""] for n in case.sequences}
        score = joint_score(scores, both.scores, plan.joint, plan.joint_weights)
        kept = score[case.brain_mask].astype(np.float16)
        shares.append(np.mean(kept >= np.float16(both.joint["T1+T2"])))
    assert 0 < max(shares) <= mean_brain.plans.scoring.false_positive_rate


@pytest.mark.parametrize(("real", "expected"), [(0.4, (0.5, 0.5)), (0.6, (0.6, 1.0))])
def test_the_joint_threshold_is_as_trusted_as_the_group_that_gave_it(
    mean_brain, make_cohort, monkeypatch, real, expected
):
    medians = iter([{"T1+T2": 0.25}, {"T1+T2": real}])
    monkeypatch.setattr(calibration, "_joint_thresholds", lambda *_: next(medians))
    records = make_cohort(mean_brain.plans, [3]).records
    groups = [HealthyCases(records, drawn=True), HealthyCases(records)]
    found = practical_thresholds(mean_brain, groups, "cpu")
    assert (found.joint["T1+T2"], found.joint_trust["T1+T2"]) == expected


def test_each_sequence_has_the_first_cases_that_have_it(monkeypatch, mean_brain, make_cohort):
    """A cohort of two scanners: FLAIR comes late, and has its threshold all the same."""
    monkeypatch.setattr(calibration, "CALIBRATION_CASES", 2)
    one, *rest = make_cohort(mean_brain.plans, [3, 4, 5]).records

    def case(name: str, *sequences: str) -> CaseRecord:
        return one.model_copy(update={"case_id": name, "sequences": sequences})

    records = [case("a", "T1"), case("b", "T1"), case("c", "T1"), case("d", "T1", "T2"), *rest]
    chosen = calibration_records(records, ["T1", "T2"])
    assert [record.case_id for record in chosen] == ["a", "b", "d", rest[0].case_id]
    assert calibration_records(records, ["FLAIR"]) == []


def test_of_a_method_that_marks_nothing_there_is_no_joint_threshold(mean_brain, make_cohort):
    """Multiples of a threshold that is all but 0 would be beyond all numbers."""
    records = make_cohort(mean_brain.plans, [3, 4]).records
    silent = MeanBrain(mean_brain.plans)
    silent.detect = lambda image, *_: Detection({"": torch.zeros_like(image)})
    found = practical_thresholds(silent, [HealthyCases(records)], "cpu")
    assert found.joint == {}
    scores = {name: np.full((2, 2, 2), 0.05, np.float32) for name in found.scores}
    whole = joint_score(scores, found.scores, "roots")
    assert (whole == np.float32(65504)).all(), "and still a score that can be counted"


def test_training_cases_stand_in_for_a_sequence_that_no_validation_case_has(
    mean_brain, make_cohort, monkeypatch
):
    training, validation = (make_cohort(mean_brain.plans, ids) for ids in ([0, 1], [3, 4]))
    only_t1 = tuple(one.model_copy(update={"sequences": ("T1",)}) for one in validation.records)
    (group,), words = calibration_cases(mean_brain, training, validation)
    assert (tuple(group.records), words) == (validation.records, "2 healthy validation cases")
    without_t2 = replace(validation, records=only_t1)
    groups, words = calibration_cases(mean_brain, training, without_t2)
    assert [tuple(group.records) for group in groups] == [only_t1, training.records]
    assert words == "2 healthy validation cases and 2 healthy TRAINING cases (of T2)"
    whole = {record.case_id: record for record in (*validation.records, *training.records)}

    def without_absent(record: CaseRecord) -> StandardCase:
        case = read_case(whole[record.case_id])
        images = case.images[: len(record.sequences)]
        return replace(case, sequences=record.sequences, images=images)

    monkeypatch.setattr(calibration, "read_case", without_absent)
    found = practical_thresholds(mean_brain, groups, "cpu")
    new, trained = (
        practical_thresholds(mean_brain, [HealthyCases(g.records)], "cpu") for g in groups
    )
    assert found.scores == {"T1": new.scores["T1"], "T2": trained.scores["T2"]}
    assert found.scores["T1"] != trained.scores["T1"] and "T1+T2" in found.joint
    (group,), words = calibration_cases(mean_brain, training, replace(validation, records=()))
    assert (tuple(group.records), words) == (training.records, "2 healthy TRAINING cases")


def test_cases_with_several_sequences_are_chosen_after_those_with_one(
    monkeypatch, mean_brain, make_cohort
):
    """Else the joint map would have no threshold, though there are cases for it."""
    monkeypatch.setattr(calibration, "CALIBRATION_CASES", 1)
    one, *_ = make_cohort(mean_brain.plans, [3]).records
    sequences = {"a": ("T1",), "b": ("T2",), "c": ("T1", "T2"), "d": ("T1", "T2"), "e": ("T1",)}
    records = [
        one.model_copy(update={"case_id": name, "sequences": there})
        for name, there in sequences.items()
    ]
    chosen = calibration_records(records, ["T1", "T2"])
    assert [record.case_id for record in chosen] == ["a", "b", "c"]


def test_a_method_of_several_variants_has_a_threshold_for_each(make_cohort, make_plans):
    plans = make_plans("raw-intensity")
    group = HealthyCases(make_cohort(plans, [0, 1]).records)
    thresholds = practical_thresholds(RawIntensity(plans), [group], "cpu")
    assert set(thresholds.joint) == {"T1+T2"}
    assert set(thresholds.scores) == {"T1/bright", "T1/dark", "T2/bright", "T2/dark"}


def test_a_model_takes_over_the_thresholds_of_a_lab_s_own_controls(mean_brain, make_cohort):
    """Of those with a lesion mask nothing is taken."""
    before = Checkpoint(mean_brain.plans, mean_brain.tensors(), thresholds={"T1": 9.0, "T2": 9.0})
    controls = make_cohort(mean_brain.plans, [3, 4]).records
    ill = {"case_id": "ill", "patient_id": "ill", "has_lesion_mask": True}
    patient = controls[0].model_copy(update=ill)
    found = recalibrated(before, {"Controls": [*controls, patient]}, "cpu")
    expected = practical_thresholds(mean_brain, [HealthyCases(controls)], "cpu")
    assert (found.thresholds, found.joint_thresholds) == (expected.scores, expected.joint)
    assert found.threshold_source == "2 healthy cases of Controls"
    two = recalibrated(before, {"Controls": controls, "Scanner2": controls[:1]}, "cpu")
    words = "2 healthy cases of Controls or of 1 healthy case of Scanner2, the highest"
    assert two.threshold_source == words
    with pytest.raises(UsageError, match="Scanner2 has no healthy case with T1 or T2"):
        recalibrated(before, {"Controls": controls, "Scanner2": [patient]}, "cpu")
    assert found.tensors is before.tensors
    with pytest.raises(UsageError, match="Controls has no healthy case with T1 or T2"):
        recalibrated(before, {"Controls": [patient]}, "cpu")
    only_t1 = [record.model_copy(update={"sequences": ("T1",)}) for record in controls]
    none = replace(before, thresholds={"T1": 9.0})
    with pytest.raises(UsageError, match=r"no healthy case of Controls has T2, .* be kept"):
        recalibrated(none, {"Controls": only_t1}, "cpu")


def test_what_the_controls_do_not_have_keeps_its_threshold_and_its_source(
    mean_brain, make_cohort, tmp_path, caplog, monkeypatch
):
    new = Thresholds({"T1": 3.0}, {}, {})
    monkeypatch.setattr(calibration, "practical_thresholds", lambda *_, **__: new)
    before = Checkpoint(
        mean_brain.plans,
        mean_brain.tensors(),
        thresholds={"T1": 9.0, "T2": 9.0},
        joint_thresholds={"T1+T2": 0.5},
        joint_trust={"T1+T2": 0.5},
        threshold_source="60 cases of Simulated",
    )
    controls = make_cohort(mean_brain.plans, [3, 4]).records
    only_t1 = [record.model_copy(update={"sequences": ("T1",)}) for record in controls]
    found = recalibrated(before, {"Controls": only_t1}, "cpu")
    assert found.thresholds == {"T1": 3.0, "T2": 9.0}
    assert (found.joint_thresholds, found.joint_trust) == ({"T1+T2": 0.5}, {})
    source = "60 cases of Simulated"
    assert found.older == {"T2": Older(source, 1.0), "T1+T2": Older(source, 0.5)}
    assert found.sources == (
        "2 healthy cases of Controls; of before, 60 cases of Simulated: T2, T1+T2"
    )
    assert "no healthy case of Controls has T2: the thresholds of these, and" in caplog.text
    save_checkpoint(tmp_path / "a.safetensors", found)
    assert load_checkpoint(tmp_path / "a.safetensors").older == found.older
    again = recalibrated(found, {"Others": only_t1}, "cpu")
    assert again.older == found.older, "they are as old as before"
    whole = recalibrated(found, {"More": controls}, "cpu")
    assert (whole.older, whole.thresholds, whole.joint_thresholds) == ({}, new.scores, new.joint)
