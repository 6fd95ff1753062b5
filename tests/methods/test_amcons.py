"""AMCons: the size of its VAE, its entropy, its eroded masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from dal_auto.errors import PlansError
from dal_auto.methods import amcons


def test_the_vae_is_as_large_as_the_published_one():
    """Counted from its layer list: 20.3 million."""
    with torch.device("meta"):
        network = amcons.AMConsNetwork(224, 64, 32)
        logits, mean, _, activation = network(torch.empty(2, 1, 224, 224))
        features, _ = network.attention(torch.empty(1, 1, 224, 224))
    assert logits.shape == activation.shape == (2, 1, 224, 224) and mean.shape == (2, 32)
    assert features.shape == (1, 64, 112, 112) and network.mean.in_features == 100_352
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(20.3, abs=0.05)


def test_the_entropy_is_scipys_within_the_mask_and_its_most_is_that_of_an_even_spread():
    torch.manual_seed(0)
    activation, mask = 3 * torch.rand(2, 1, 5, 6), (torch.rand(2, 1, 5, 6) > 0.4).float()
    found = amcons.entropy(activation, mask)
    for one, scores, inside in zip(found, activation, mask > 0, strict=True):
        shares = np.exp(scores[inside].numpy())
        assert float(one) == pytest.approx(stats.entropy(shares), rel=1e-4)
    even = amcons.entropy(torch.full((1, 1, 5, 6), 2.0), torch.ones(1, 1, 5, 6))
    assert float(even) == pytest.approx(math.log(30), rel=1e-5)
    nothing = torch.zeros(1, 1, 5, 6)
    assert float(amcons.entropy(activation[:1], nothing)) == 0


def test_a_gradient_reaches_the_mask_only_and_is_finite():
    activation = torch.rand(1, 1, 4, 4, requires_grad=True)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    amcons.entropy(activation, mask).sum().backward()
    assert activation.grad is not None and activation.grad.isfinite().all()
    assert (activation.grad[mask == 0] == 0).all() and activation.grad.abs().sum() > 0


@pytest.mark.parametrize("edge", [1, 2, 3, 6])
def test_masks_are_eroded_as_scipy_does_it(edge):
    brain = torch.zeros(1, 1, 20, 24)
    brain[..., 3:17, 2:22] = 1
    brain[..., 9, 10] = 0
    expected = ndimage.binary_erosion(brain[0, 0].numpy() > 0.5, np.ones((edge, edge)))
    found = amcons.eroded(brain, edge)[0, 0].numpy() > 0
    assert found.sum() == expected.sum() > 0
    if edge % 2:  # an even square has no middle
        np.testing.assert_array_equal(found, expected)


def test_a_side_that_the_encoder_does_not_divide_is_refused(small_plans):
    with pytest.raises(PlansError, match="input_side"):
        amcons.AMCons(small_plans("AMCons", input_side=40))
