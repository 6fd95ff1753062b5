"""Figures of healthy patients that are not trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dal_auto.methods.dal.model import DAL
from dal_auto.training.validation import (
    beside_the_mean_brain,
    mean_of_training,
    validate,
)


# Without gradients, as validation is: another rounding would move single edges.
@torch.no_grad()
def test_validation_is_the_mean_over_its_pairs_of_cases(make_cohort, make_plans):
    plans = make_plans(training__steps=1000)
    method, cohort = DAL(plans), make_cohort(plans, [0, 1, 2, 3])
    training = make_cohort(plans, [4, 5])
    mean = mean_of_training(training, "cpu")
    figures = validate(method, cohort, training, mean, "cpu")
    error = figures.pop("mean_brain_error")
    batch = cohort.batch([0, 1, 2, 3])
    off = [
        abs(images - mean).numpy()[np.repeat(mask.numpy() > 0, 2, axis=0)].mean()
        for images, mask in zip(batch.images, batch.brain_mask, strict=True)
    ]
    assert error == pytest.approx(np.mean(off), rel=0.02)
    pairs = [cohort.batch([0, 1]), cohort.batch([2, 3])]
    for name, value in figures.items():
        by_hand = [
            float((method.training_step(batch, 1000) | method.watch(batch))[name])
            for batch in pairs
        ]
        assert value == pytest.approx(np.mean(by_hand), rel=1e-4, abs=1e-6), name
    assert {"loss", "rest", "occupancy_1", "label_agreement", "code_std"} <= set(figures)


def test_the_mean_brain_is_the_mean_of_the_brains_that_cover_a_voxel(make_cohort, make_plans):
    training = make_cohort(make_plans(), [4, 5])
    batch = training.batch([0, 1])
    covered = batch.brain_mask.sum(0)
    wanted = batch.images.sum(0) / covered.clamp(min=1)
    torch.testing.assert_close(mean_of_training(training, "cpu"), wanted)


def test_a_restoration_that_is_no_better_than_the_mean_brain_is_told():
    assert beside_the_mean_brain({"loss": 1.0, "mean_brain_error": 0.1}) is None
    words, no_better = beside_the_mean_brain({"restoration_error": 0.12, "mean_brain_error": 0.1})
    assert no_better and "0.120" in words and "0.100" in words
    assert not beside_the_mean_brain({"restoration_error": 0.09, "mean_brain_error": 0.1})[1]


@torch.no_grad()
def test_a_case_without_a_partner_is_paired_with_the_first(make_cohort, make_plans):
    plans = make_plans(training__steps=1000)
    method, three = DAL(plans), make_cohort(plans, [0, 1, 2])
    figures = validate(method, three, three, mean_of_training(three, "cpu"), "cpu")
    assert all(np.isfinite(value) for value in figures.values())
    by_hand = [
        float(method.training_step(three.batch(pair), 1000)["rest"]) for pair in ([0, 1], [2, 0])
    ]
    assert figures["rest"] == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_without_validation_cases_training_cases_stand_in(make_cohort, make_plans):
    plans = make_plans(training__steps=1000)
    method, training = DAL(plans), make_cohort(plans, [0, 1])
    none = make_cohort(plans, [])
    mean = mean_of_training(training, "cpu")
    found, expected = (validate(method, v, training, mean, "cpu") for v in (none, training))
    assert found == expected


def test_validation_leaves_weights_and_gradients_alone(make_cohort, make_plans):
    plans = make_plans()
    method, cohort = DAL(plans), make_cohort(plans, [0, 1])
    before = {name: tensor.clone() for name, tensor in method.tensors().items()}
    validate(method, cohort, cohort, mean_of_training(cohort, "cpu"), "cpu")
    assert all(before[name].equal(tensor) for name, tensor in method.tensors().items())
    assert all(parameter.grad is None for parameter in method.network.parameters())
