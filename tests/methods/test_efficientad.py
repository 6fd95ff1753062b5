"""EfficientAD: sizes of its networks, its hard loss, its quantiles, its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dal_auto.errors import InputError, PlansError
from dal_auto.methods.efficientad import model, network


def test_networks_are_as_large_as_published():
    """Teacher, student and autoencoder, counted from the paper's layer lists: 8.06 million."""
    with torch.device("meta"):
        teacher = network.PatchDescriptor(128, 384)
        others = network.EfficientADNetwork(256, 128, 384, 64)
        colours = torch.empty(1, 3, 256, 256)
        shapes = [teacher.stages_of(colours)[0].shape, others.autoencoder(colours).shape]
    assert shapes == [(1, 384, 56, 56)] * 2 and others.autoencoder.sizes == [3, 8, 15, 32, 63, 127]
    total = sum(p.numel() for net in (teacher, others) for p in net.parameters()) / 1e6
    assert total == pytest.approx(8.06, abs=0.01)


def test_a_position_sees_a_patch_of_33_pixels():
    descriptor = network.PatchDescriptor(4, 5)
    slices = torch.rand(1, 1, 64, 64, requires_grad=True)
    descriptor(slices)[0][0, :, 3, 4].sum().backward()
    rows, columns = (slices.grad[0, 0] != 0).nonzero(as_tuple=True)
    # The first position's patch begins at the first pixel, and each lies 4 pixels on.
    assert (int(rows.min()), int(rows.max())) == (12, 12 + 32)
    assert (int(columns.min()), int(columns.max())) == (16, 16 + 32)


def test_the_hard_loss_takes_what_lies_above_the_quantile():
    torch.manual_seed(0)
    square = torch.rand(2, 5, 20, 20)
    found = model.hardest(square, 0.01).numpy()
    expected = np.sort(square.numpy().ravel())[-40:]
    np.testing.assert_allclose(np.sort(found), expected)
    assert found.min() >= np.quantile(square.numpy(), 0.99)


def test_jitter_keeps_the_range_and_changes_each_slice_its_own_way():
    torch.manual_seed(0)
    slices = torch.rand(6, 1, 8, 8)
    found = model.jittered(slices, 0.2)
    assert found.min() >= 0 and found.max() <= 1
    torch.testing.assert_close(model.jittered(slices, 0.0), slices)
    ratio = (found / slices).flatten(1).median(dim=1).values
    assert len(set(ratio.tolist())) == 6 and (ratio - 1).abs().max() <= 0.2 + 1e-5


def test_maps_are_scaled_by_the_quantiles_of_healthy_brains(small_plans, phantom_batch):
    method = model.EfficientAD(small_plans("EfficientAD"))
    method.prepare(phantom_batch(seed) for seed in range(2))
    method.calibrate([phantom_batch(4)])
    (found,) = [[*method.healthy_slices([phantom_batch(4)], every_nth=4)]]
    values = []
    for slices, brain in found:
        with torch.no_grad():
            values.append(torch.stack(method.maps(slices), dim=-1)[brain > 0.5])
    expected = np.quantile(torch.cat(values).numpy(), [0.9, 0.995], axis=0).T
    np.testing.assert_allclose(method.network.quantiles.numpy(), expected, rtol=0.1)
    slices, brain = found[0]
    with torch.no_grad():
        first, second = method.maps(slices)
        score = method.examine(slices, brain, range(len(slices)))[1]["self-trained"]
    (a, b), (c, d) = method.network.quantiles.tolist()
    theirs = (0.1 * (first - a) / (b - a) + 0.1 * (second - c) / (d - c)) / 2
    offset = (score - theirs).flatten()
    torch.testing.assert_close(offset, offset[:1].expand_as(offset), rtol=1e-3, atol=1e-4)


def test_the_teachers_map_is_standardised_over_the_cohort(small_plans, phantom_batch):
    method = model.EfficientAD(small_plans("EfficientAD"))
    method.prepare([phantom_batch(0)])
    slices = torch.cat([s for s, _ in method.healthy_slices([phantom_batch(0)])])
    given = method._teacher(slices)
    assert given.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert (given.std(dim=(0, 2, 3)) - 1).abs().max() < 0.1


def test_without_a_teacher_it_says_what_is_wanted(small_plans):
    with pytest.raises(InputError, match="EfficientAD's small teacher"):
        model.EfficientAD(small_plans("EfficientAD", features="pretrained"))
    with pytest.raises(PlansError, match="quantiles"):
        model.EfficientAD(small_plans("EfficientAD", quantiles=[0.9, 0.5]))
