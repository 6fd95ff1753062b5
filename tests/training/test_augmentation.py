"""Augmentation: what is off changes nothing, what is on is drawn from (seed, step, place)."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch

from dal_auto.plans import AugmentationPlan
from dal_auto.training.augmentation import augmented, is_on
from dal_auto.training.loading import batches

ALL = {
    "mirror": 0.5,
    "rotation_degrees": 10.0,
    "scaling": 0.1,
    "gamma": 0.5,
    "contrast": 0.3,
    "noise": 0.05,
}


@pytest.fixture
def subject(make_cohort, make_plans):
    return make_cohort(make_plans()).volumes(0)


def test_nothing_is_varied_unless_asked_for(subject):
    assert not is_on(AugmentationPlan())
    images, mask = augmented(*subject, AugmentationPlan(), (0, 0, 0))
    np.testing.assert_array_equal(images, subject[0])
    np.testing.assert_array_equal(mask, subject[1])


@pytest.mark.parametrize("key", ALL)
def test_each_variation_does_something_alone_and_repeats(subject, key):
    plan = AugmentationPlan.parse({key: 1.0 if key == "mirror" else ALL[key]})
    before = [array.copy() for array in subject]
    one, other = (augmented(*subject, plan, (5, 7, 1)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert not np.array_equal(one[0], subject[0])
    for array, kept in zip(subject, before, strict=True):
        np.testing.assert_array_equal(array, kept)
    images, mask = one
    assert images.dtype == mask.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and set(np.unique(mask)) <= {0.0, 1.0}
    assert not images[:, mask[0] == 0].any()


def test_a_mirrored_subject_is_flipped_from_left_to_right(subject):
    images, mask = augmented(*subject, AugmentationPlan(mirror=1.0), (0, 0, 0))
    np.testing.assert_array_equal(images, subject[0][:, ::-1])
    np.testing.assert_array_equal(mask, subject[1][:, ::-1])


def test_sequences_move_together(subject):
    images, mask = subject
    twins = np.stack([images[0], images[0]])
    plan = AugmentationPlan(mirror=0.5, rotation_degrees=15.0, scaling=0.2)
    (one, other), _ = augmented(twins, mask, plan, (1, 2, 3))
    np.testing.assert_array_equal(one, other)


def test_draws_differ_by_step_and_place_and_leave_others_draws_alone(subject):
    plan = AugmentationPlan(noise=0.1)
    random.seed(1), np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1), np.random.seed(1)
    found = [augmented(*subject, plan, key)[0] for key in [(0, 0, 0), (0, 1, 0), (0, 0, 1)]]
    assert (random.random(), np.random.random()) == expected
    for one, other in itertools.combinations(found, 2):
        assert not np.array_equal(one, other)


def test_a_resumed_run_draws_the_same(make_cohort, make_plans):
    plans = make_plans(training__augmentation=ALL)
    cohort = make_cohort(plans)
    whole = list(itertools.islice(batches(cohort, 3, 0, "cpu"), 5))
    resumed = list(itertools.islice(batches(cohort, 3, 3, "cpu"), 2))
    stream = batches(cohort, 3, 0, "mps")
    background = list(itertools.islice(stream, 5))
    stream.close()
    for one, other in [*zip(whole[3:], resumed, strict=True), *zip(whole, background, strict=True)]:
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.brain_mask, other.brain_mask)
