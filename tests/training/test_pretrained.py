"""What a training takes over of the model that it starts from."""

from __future__ import annotations

import logging

import pytest
import torch

from dal_auto.errors import InputError, UsageError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.mean_brain import MeanBrain
from dal_auto.plans import Plans
from dal_auto.training.pretrained import say_what_is_new, weights_taken_over
from dal_auto.training.trainer import Trainer


@pytest.fixture
def with_sequences(make_plans):
    """Small plans of DAL with other sequences than usual."""

    def make(*names: str, **overrides) -> Plans:
        content = make_plans(method__settings__context_widths=[4, 8], **overrides).to_json()
        landmarks = next(iter(content["intensity"]["landmarks"].values()))
        content["sequences"] = list(names)
        content["intensity"]["landmarks"] = dict.fromkeys(names, landmarks)
        return Plans.parse(content)

    return make


def trained(plans: Plans) -> Checkpoint:
    """As of a training: it knows each sequence's mean vector, the first one's is 1, and so on."""
    torch.manual_seed(7)
    method = DAL(plans)
    for place in range(len(plans.sequences)):
        method.network.mean_modality[place] = place + 1
        method.network.mean_updates[place] = 100 * (place + 1)
    return Checkpoint(plans, method.tensors())


def test_each_sequence_goes_on_from_its_own_mean_vector(with_sequences):
    base = trained(with_sequences("T1", "T2", "FLAIR"))
    for names, rows in (
        (("FLAIR", "T1"), [3.0, 1.0]),
        (("T1", "T2", "PD"), [1.0, 2.0, 0.0]),
        (("T1", "T2", "FLAIR"), [1.0, 2.0, 3.0]),
    ):
        found = weights_taken_over(DAL(with_sequences(*names)), base, on_drawn=False)
        assert found["mean_modality"][:, 0].tolist() == rows
        assert found["mean_updates"].tolist() == [100 * row for row in rows]
        others = set(found) - {"mean_modality", "mean_updates"}
        assert all(torch.equal(found[name], base.tensors[name]) for name in others)


def test_what_does_not_fit_is_refused_with_what_would(with_sequences, make_plans):
    base = trained(with_sequences("T1", "T2"))
    wider = with_sequences("T1", "T2", method__settings__code_channels=16)
    with pytest.raises(InputError, match=r"same method, configuration.*DAL, `-c tiny`"):
        weights_taken_over(DAL(wider), base, on_drawn=False)
    with pytest.raises(UsageError, match=r"fitted in one pass.*leave out --pretrained"):
        weights_taken_over(MeanBrain(make_plans("mean-brain")), base, on_drawn=False)


def test_it_says_what_is_new_and_what_was_seen_before(with_sequences, caplog):
    base = trained(with_sequences("T1", training__validation_fraction=0.0))
    caplog.set_level(logging.WARNING)
    say_what_is_new(base.plans, base)
    assert not caplog.records
    say_what_is_new(with_sequences("T1", "T2", training__validation_fraction=0.2), base)
    new, seen = caplog.messages
    assert new.startswith("T2 starts anew")
    assert "held out now" in seen and "training.validation_fraction=0" in seen


def test_cases_that_chose_any_of_the_models_before_are_remembered(
    with_sequences, make_cohort, tmp_path
):
    plans = with_sequences("T1", "T2", training__steps=1)
    chose = {"selection_cases": ["b", "a"], "selected_before": {"MSLUB": ["m"], "BraTS": ["c"]}}
    base = Checkpoint(
        plans.override({"training.select_on": "BraTS"}, "test"),
        DAL(plans).tensors(),
        progress=chose,
    )
    known = {"BraTS": ["a", "b", "c"], "MSLUB": ["m"]}
    assert base.selected_on == known
    cohort = make_cohort(plans, [0])

    def trainer() -> Trainer:
        return Trainer(DAL(plans), cohort, cohort, 0, "cpu", tmp_path)

    first, again = trainer(), trainer()
    first.begin(base)
    assert again.resume() and again.selected_before == known
    assert load_checkpoint(first.last_path).progress["selected_before"] == known
    assert Checkpoint(plans, {}).selected_on == {}
