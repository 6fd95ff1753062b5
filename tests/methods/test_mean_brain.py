"""The average brain, computed by hand where brains cover a voxel differently often."""

from __future__ import annotations

import numpy as np

from dal_auto.methods.mean_brain import MeanBrain


def test_the_mean_is_over_the_brains_that_cover_a_voxel(small_plans, phantom_batch, in_windows):
    batches = [phantom_batch(seed) for seed in range(3)]
    batches[1].brain_mask[..., :8] = 0
    batches[1].images[..., :8] = 0
    images = np.stack([batch.images[0].numpy() for batch in batches])
    masks = np.stack([batch.brain_mask[0].numpy() for batch in batches])
    expected = images.sum(axis=0) / np.maximum(masks.sum(axis=0), 1)
    method = MeanBrain(small_plans("mean-brain"))
    method.fit_cohort(batches)
    new = phantom_batch(9)
    image, mask = new.images[0, 1], new.brain_mask[0, 0]
    found = method.detect(image, mask, "T2", in_windows)
    np.testing.assert_allclose(found.pseudo_healthy, expected[1] * mask.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        found.scores[""], np.abs(image.numpy() - expected[1]) * mask.numpy(), atol=1e-6
    )


def test_a_cohort_of_one_brain_finds_nothing_in_it(small_plans, phantom_batch, in_windows):
    batch = phantom_batch(4)
    method = MeanBrain(small_plans("mean-brain"))
    method.fit_cohort([batch])
    found = method.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows)
    assert float(found.scores[""].max()) == 0


def test_who_lacks_a_sequence_has_no_part_in_its_mean(small_plans, phantom_batch, in_windows):
    batches = [phantom_batch(seed) for seed in range(2)]
    batches[1].present[0, 1] = False
    batches[1].images[0, 1] = 0.7  # must not be looked at
    method = MeanBrain(small_plans("mean-brain"))
    method.fit_cohort(batches)
    t1, t2 = method.tensors()["mean"]
    np.testing.assert_allclose(t2, batches[0].images[0, 1])
    np.testing.assert_allclose(t1, (batches[0].images[0, 0] + batches[1].images[0, 0]) / 2)
