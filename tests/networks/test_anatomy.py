"""Eq. 1–4 against their words: one-hot forward, softmax backward, merged values, masked."""

from __future__ import annotations

import pytest
import torch

from dal_auto.networks.anatomy import (
    AnatomyExtractor,
    differentiable_one_hot,
    halve,
    merge_channels,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_forward_is_exactly_the_one_hot_of_the_largest_logit(classes, scale):
    logits = scale * noise(2, classes, 5, 6, 7)
    expected = torch.nn.functional.one_hot(logits.argmax(dim=1), classes).movedim(-1, 1).float()
    assert torch.equal(differentiable_one_hot(logits), expected)


def test_backward_is_the_softmax_gradient():
    logits, direction = noise(2, 3, 4, 5, 6).requires_grad_(), noise(2, 3, 4, 5, 6, seed=1)
    (ours,) = torch.autograd.grad((differentiable_one_hot(logits) * direction).sum(), logits)
    (softmax,) = torch.autograd.grad((logits.softmax(dim=1) * direction).sum(), logits)
    assert softmax.abs().max() > 0.1
    assert torch.equal(ours, softmax)


def test_merged_values_are_0_a_third_two_thirds_and_1():
    # One voxel each of class 1, 2, 3, then one of class 3 outside the brain.
    one_hot = torch.zeros(1, 3, 4, 1, 1)
    for voxel, channel in enumerate([0, 1, 2, 2]):
        one_hot[0, channel, voxel] = 1
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 4, 1, 1)
    merged = merge_channels(one_hot, mask)
    assert merged.shape == (1, 1, 4, 1, 1)
    torch.testing.assert_close(merged.flatten(), torch.tensor([1 / 3, 2 / 3, 1.0, 0.0]))


def test_merging_masks_the_gradient_too():
    logits = noise(1, 3, 4, 4, 4).requires_grad_()
    mask = (noise(1, 1, 4, 4, 4, seed=2) > 0).float()
    merge_channels(differentiable_one_hot(logits), mask).sum().backward()
    moved = logits.grad.abs().sum(dim=1, keepdim=True) > 0
    assert torch.equal(moved, mask > 0)


@pytest.mark.parametrize("size", [(8, 12, 16), (9, 11, 7)])
def test_anatomy_extractor_gives_a_logit_per_class_at_every_voxel(size):
    assert AnatomyExtractor((4, 6), classes=3)(noise(2, 1, *size)).shape == (2, 3, *size)


def test_halving_averages_pairs_of_voxels():
    line = torch.tensor([1.0, 3.0, 5.0, 9.0, 4.0])
    image = line[:, None, None].expand(5, 4, 6)[None, None]
    halved = halve(image)
    assert halved.shape == (1, 1, 3, 2, 3)
    # The odd voxel at the end stands alone: no zeros are averaged in.
    torch.testing.assert_close(halved[0, 0, :, 0, 0], torch.tensor([2.0, 7.0, 4.0]))
