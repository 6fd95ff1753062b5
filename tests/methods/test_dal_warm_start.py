"""Tissue classes by intensity: the reference is scikit-learn's k-means on a known mixture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch.nn import functional as F

from dal_auto.methods.dal.warm_start import tissue_classes, warm_start_loss

IGNORED = -100


def mixture(seed: int = 0, shape: tuple[int, int, int] = (14, 15, 16)):
    """Image of three overlapping Gaussians of unequal share, its true classes, and a brain mask."""
    random = np.random.default_rng(seed)
    truth = random.choice(3, shape, p=[0.2, 0.5, 0.3])
    image = np.array([0.2, 0.5, 0.75])[truth] + random.normal(0, 0.06, shape)
    mask = random.random(shape) < 0.7
    return (
        torch.from_numpy((image * mask).astype(np.float32)),
        torch.from_numpy(truth),
        torch.from_numpy(mask.astype(np.float32)),
    )


def test_classes_are_those_of_k_means_in_the_order_of_intensity():
    image, truth, mask = mixture()
    inside = mask > 0
    labels = tissue_classes(image, mask, 3)[inside].numpy()
    reference = KMeans(3, n_init=5, random_state=0).fit(image[inside].numpy()[:, None])
    rank = np.argsort(np.argsort(reference.cluster_centers_[:, 0]))
    np.testing.assert_array_less(0.999, np.mean(labels == rank[reference.labels_]))
    assert np.mean(labels == truth[inside].numpy()) > 0.95


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_brighter_voxel_is_never_in_a_lower_class(classes):
    image, _, mask = mixture(1)
    labels = tissue_classes(image, mask, classes)
    assert labels.dtype == torch.int64
    order = image[mask > 0].argsort()
    sorted_labels = labels[mask > 0][order]
    assert (sorted_labels.diff() >= 0).all()
    assert sorted_labels.unique().tolist() == list(range(classes))


def test_the_background_is_of_no_class():
    image, _, mask = mixture()
    image = torch.where(mask > 0, image, torch.tensor(5.0))  # must not be looked at
    labels = tissue_classes(image, mask, 3)
    assert (labels[mask == 0] == IGNORED).all()
    assert torch.equal(labels, tissue_classes(image * mask, mask, 3))


def test_all_sequences_learn_the_classes_of_the_reference():
    images = torch.stack([torch.stack([mixture(s)[0], mixture(s + 9)[0]]) for s in (0, 1)])
    masks = torch.stack([mixture(s)[2][None] for s in (0, 1)])
    truth = torch.stack([tissue_classes(images[p, 0], masks[p, 0], 3) for p in (0, 1)])
    certain = 20 * F.one_hot(truth.clamp(min=0), 3).movedim(-1, 1).float()
    logits = certain[:, None].repeat(1, 2, 1, 1, 1, 1)
    assert float(warm_start_loss(logits, images, masks, reference=0)) < 1e-6
    wrong = logits.clone()
    wrong[:, 1] = wrong[:, 1].roll(1, dims=1)  # the second sequence is off by a class: half of all
    assert float(warm_start_loss(wrong, images, masks, reference=0)) == pytest.approx(10, rel=1e-4)
    assert float(warm_start_loss(logits, images, masks, reference=1)) > 5


def test_undecided_logits_cost_ln_3_and_the_background_gets_no_gradient():
    image, _, mask = mixture()
    logits = torch.zeros(1, 1, 3, *image.shape, requires_grad=True)
    loss = warm_start_loss(logits, image[None, None], mask[None, None], reference=0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(np.log(3))
    moved = logits.grad[0, 0].abs().sum(dim=0) > 0
    assert torch.equal(moved, mask > 0)
