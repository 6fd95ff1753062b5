"""A trained run as it predicts: its thresholds, its names, and the space it was trained in."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from dal_auto.errors import UsageError
from dal_auto.inference import model as module
from dal_auto.inference.model import check_atlas, load_model
from dal_auto.methods.checkpoint import Older, load_checkpoint, save_checkpoint


@pytest.fixture(autouse=True)
def atlas(monkeypatch) -> SimpleNamespace:
    """The atlas found here, in whose space the run was trained."""
    found = SimpleNamespace(name="stand-in", sha256="")
    monkeypatch.setattr(module, "load_atlas", lambda: found)
    return found


def changed(run, **fields):
    save_checkpoint(run.checkpoint_path, replace(load_checkpoint(run.checkpoint_path), **fields))
    return run


def test_thresholds_are_those_of_the_sequence_and_variant(run):
    thresholds = {"T1": 0.25, "T1/own": 0.5, "T2": 0.125}
    model = load_model(changed(run, thresholds=thresholds), device="cpu")
    assert [model.threshold("T1", ""), model.threshold("T1", "own")] == [0.25, 0.5]
    assert model.threshold("T2", "") == 0.125
    assert model.source("T1") == (
        "exceeded by 0.10% of the brain voxels in the median of 3 healthy validation cases"
    )
    without = load_model(changed(run, threshold_source=""), device="cpu")
    assert without.source("T2").endswith("in the median of healthy cases")


def test_thresholds_of_before_have_a_source_of_their_own(run):
    older = {key: Older("9 drawn heads", 0.5) for key in ("T2", "T1+T2")}
    model = load_model(changed(run, joint_thresholds={"T1+T2": 0.5}, older=older), device="cpu")
    assert model.source("T1").endswith("of 3 healthy validation cases")
    assert model.source("T2").endswith("of 9 drawn heads")
    assert model.joint_source(["T2", "T1"]).endswith("of 9 drawn heads")
    assert model.joint_trust(["T2", "T1"]) == 0.5
    assert model.names.threshold_source.endswith(
        "of 3 healthy validation cases; of before, 9 drawn heads: T2, T1+T2"
    )


def test_the_users_threshold_counts_for_all_and_needs_no_other(run):
    model = load_model(changed(run, thresholds={}), device="cpu", threshold=0.75)
    assert model.threshold("T1", "") == model.threshold("T2", "own") == 0.75
    assert model.source("T1") == model.names.threshold_source == "user: --threshold"
    assert model.joint_source({"T1", "T2"}) == "user: --threshold"
    assert model.thresholds_in_joint({"T1": "", "T2": ""}) == {"T1": 0.75, "T2": 0.75}
    assert not model.is_calibrated({"T1"}) and model.joint_threshold({"T1", "T2"}) == 1.0


def test_the_users_threshold_is_not_for_the_joint_map(run):
    own, joint = {"T1": 0.25, "T2/own": 0.125}, {"T1+T2": 0.5}
    run = changed(run, thresholds=own, joint_thresholds=joint)
    model = load_model(run, device="cpu", threshold=0.75)
    assert model.threshold("T1", "") == 0.75
    assert model.thresholds_in_joint({"T1": "", "T2": "own"}) == {"T1": 0.25, "T2": 0.125}
    assert model.joint_threshold({"T1", "T2"}) == 0.5
    assert model.names.threshold_source == (
        "user: --threshold, for the maps of the sequences; of the joint map: exceeded by 0.10% of "
        "the brain voxels in the median of 3 healthy validation cases"
    )


def test_a_run_that_lacks_a_threshold_is_refused_with_the_sequence(run):
    with pytest.raises(UsageError, match=r"no practical threshold for T2\. .*--threshold"):
        load_model(changed(run, thresholds={"T1/own": 0.25}), device="cpu")


def test_another_atlas_is_another_space(run, atlas):
    atlas.sha256 = "0123456789abcdef"
    with pytest.raises(UsageError, match=r"of SRI24 .* found here is stand-in \(0123456789ab"):
        load_model(run, device="cpu")
    plans = load_checkpoint(run.checkpoint_path).plans
    known = plans.override({"preprocessing.atlas_sha256": atlas.sha256}, "test")
    check_atlas(replace(load_checkpoint(run.checkpoint_path), plans=known))


def test_it_is_told_from_others_by_its_names(run):
    model = load_model(changed(run, step=7), device="cpu", save=frozenset({"atlas"}), layout="bids")
    names = model.names
    assert names.run == str(run) and names.model_sha256 == run.checkpoint_sha256()
    assert (names.method, names.preset, names.configuration) == ("mean-brain", "robust", "tiny")
    assert (names.training_set, names.training_steps) == ("Phantoms", 7)
    assert names.threshold_source == model.source("T1")
    asked = model.request
    assert (asked.save, asked.threshold, asked.layout) == (frozenset({"atlas"}), None, "bids")
    assert asked.model_sha256 == names.model_sha256 and asked.plan == model.plans.preprocessing


def test_every_sequence_of_a_case_is_predicted_in_its_order(run, case, monkeypatch):
    calls = []

    def note(method, of, sequence, device):
        calls.append((method, of, device))
        return sequence.lower()

    monkeypatch.setattr(module, "predict", note)
    model = load_model(run, device="cpu")
    turned = replace(case, sequences=("T2", "T1"), images=case.images[::-1])
    assert list(model.predict(turned).items()) == [("T2", "t2"), ("T1", "t1")]
    assert calls == [(model.method, turned, "cpu")] * 2
