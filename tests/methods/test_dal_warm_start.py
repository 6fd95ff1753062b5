"""Tissue classes by intensity: the reference is scikit-learn's k-means on a known mixture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2, vq
from sklearn.cluster import KMeans
from torch.nn import functional as F

from dal_auto.methods.dal import warm_start
from dal_auto.methods.dal.objective import true_anatomy
from dal_auto.methods.method import Batch

IGNORED = -100


def tissue_classes(image: torch.Tensor, mask: torch.Tensor, classes: int) -> torch.Tensor:
    """Of one image."""
    return warm_start.tissue_classes(image[None], mask[None], classes)[0]


def warm_start_loss(
    logits: torch.Tensor, images: torch.Tensor, mask: torch.Tensor, reference: int
) -> torch.Tensor:
    """With all sequences there, of a cohort that knows no tissues."""
    return loss_of(logits, images, mask, torch.ones(images.shape[:2]), reference)


def loss_of(
    logits: torch.Tensor,
    images: torch.Tensor,
    mask: torch.Tensor,
    present: torch.Tensor,
    reference: int,
) -> torch.Tensor:
    repeated = mask.repeat_interleave(images.shape[1], dim=0)
    batch = Batch(images, mask, present > 0)
    truth = true_anatomy(batch, present, repeated, logits.shape[2], reference)
    return warm_start.label_loss(logits.flatten(0, 1), truth.labels)


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
@pytest.mark.parametrize("seed", range(4))
def test_the_labels_are_those_of_scipys_k_means_from_the_same_start(seed, classes):
    image, _, mask = mixture(seed, (20, 21, 22))
    inside = mask > 0
    values = image[inside].double().numpy()
    start = np.quantile(values, (np.arange(classes) + 0.5) / classes)
    # The centres after scipy's ten steps, and the labels that they give.
    centres, _ = kmeans2(values[:, None], start[:, None], iter=10, minit="matrix")
    labels, _ = vq(values[:, None], centres)
    found = tissue_classes(image, mask, classes)[inside].numpy()
    assert np.mean(found == labels) > 0.9995, "but for voxels within rounding of an edge"


def test_subjects_of_a_batch_are_classed_each_for_itself():
    images, _, masks = (torch.stack(parts) for parts in zip(mixture(0), mixture(1), strict=True))
    images[1] = images[1] / 2 + 0.1 * masks[1]
    together = warm_start.tissue_classes(images, masks, 3)
    for image, mask, labels in zip(images, masks, together, strict=True):
        assert torch.equal(labels, tissue_classes(image, mask, 3))


def test_a_brain_of_one_value_and_an_empty_one_do_no_harm():
    image, _, mask = mixture()
    for odd in (mask * 0.5, mask * 0):
        assert set(tissue_classes(odd, mask, 3)[mask > 0].tolist()) == {0}
    assert (tissue_classes(image, mask * 0, 3) == IGNORED).all()


def test_nothing_waits_for_the_device():
    # A meta tensor has no values: whatever asks for one, or a shape that depends on one, raises.
    on = {"device": "meta"}
    logits = torch.zeros(2, 2, 3, 6, 7, 8, **on)
    images, mask = torch.zeros(2, 2, 6, 7, 8, **on), torch.zeros(2, 1, 6, 7, 8, **on)
    present = torch.ones(2, 2, **on)
    assert loss_of(logits, images, mask, present, reference=0).shape == ()


def test_who_lacks_the_reference_or_the_sequence_teaches_nothing():
    images = torch.stack([torch.stack([mixture(s)[0], mixture(s + 9)[0]]) for s in (0, 1, 2)])
    masks = torch.stack([mixture(s)[2][None] for s in (0, 1, 2)])
    logits = torch.randn(3, 2, 3, *images.shape[2:], requires_grad=True)
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    loss = loss_of(logits, images, masks, present, reference=0)
    # A mean over the voxels of (0, 0), (0, 1) and (1, 0).
    total = voxels = 0.0
    for p, s in [(0, 0), (0, 1), (1, 0)]:
        inside = masks[p, 0] > 0
        labels = tissue_classes(images[p, 0], masks[p, 0], 3)[inside]
        log_likelihood = logits[p, s].log_softmax(0)[:, inside].gather(0, labels[None])
        total, voxels = total - float(log_likelihood.detach().sum()), voxels + int(inside.sum())
    assert float(loss.detach()) == pytest.approx(total / voxels, rel=1e-5)
    loss.backward()
    moved = logits.grad.flatten(2).abs().sum(2) > 0
    assert moved.tolist() == [[True, True], [True, False], [False, False]]


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
