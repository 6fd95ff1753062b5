"""Disyre and MOOD22, rivals from outside the paper: their networks, tasks and scores."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.methods import disyre, mood22


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# Disyre


def test_disyres_score_is_the_mean_over_the_strengths_that_it_is_told(small_plans, monkeypatch):
    method = disyre.Disyre(small_plans("Disyre", restorations=3, levels=21))
    told = []

    def network(self, slices: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        told.append(int(levels[0]))
        return slices * levels[0] / 20

    monkeypatch.setattr(disyre.DisyreNetwork, "forward", network)
    slices = rand(2, 1, 16, 16)
    restored, maps = method.examine(slices, torch.ones_like(slices), range(2))
    assert told == [20, 10, 0]
    torch.testing.assert_close(restored, slices / 2)
    torch.testing.assert_close(maps[""], slices / 2)


def test_disyre_is_told_how_strong_its_corruption_is(small_plans, monkeypatch):
    method = disyre.Disyre(small_plans("Disyre"))
    seen = []

    def network(self, slices: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        seen.append((slices, levels))
        return slices

    monkeypatch.setattr(disyre.DisyreNetwork, "forward", network)
    torch.manual_seed(0)
    slices = rand(16, 1, 32, 32)
    loss = method.slice_losses(slices, torch.ones_like(slices))["loss"]
    ((given, levels),) = seen
    torch.testing.assert_close(loss, F.mse_loss(given, slices))
    assert levels.min() >= 0 and levels.max() <= 99 and len(levels.unique()) > 8
    errors = (given - slices).square().mean(dim=(1, 2, 3))
    assert float(errors[levels > 60].mean()) > float(errors[levels < 40].mean())


def test_disyres_sizes_must_fit(small_plans):
    with pytest.raises(PlansError, match="widths"):
        disyre.Disyre(small_plans("Disyre", widths=(12, 32)))
    with pytest.raises(PlansError, match="restorations"):
        disyre.Disyre(small_plans("Disyre", restorations=101))


# MOOD22


def test_mood22s_network_is_nnunets_in_slices():
    with torch.device("meta"):
        network = mood22.SegmentingUNet((32, 64, 128, 256, 320, 320), 4)
        found = network(torch.empty(1, 1, 64, 96))
    assert [tuple(one.shape[2:]) for one in found] == [(64, 96), (32, 48), (16, 24), (8, 12)]
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2 * 6 + 2 * 5 + 4 and all(c.bias is None for c in convolutions)


def test_levels_weigh_half_of_the_next_finer_one():
    logits = [torch.zeros(2, 1, 8, 8), torch.full((2, 1, 4, 4), 3.0)]
    weight = torch.zeros(2, 1, 8, 8)
    weight[:, :, ::2] = 1
    found = mood22.supervised_loss(logits, weight)
    half = torch.full((2, 1, 4, 4), 0.5)
    coarse = F.binary_cross_entropy_with_logits(logits[1], half)
    expected = 2 / 3 * torch.tensor(2.0).log() + coarse / 3
    torch.testing.assert_close(found, expected)


def test_anomalies_have_the_published_strengths_share_and_edges(small_plans):
    method = mood22.MOOD22(small_plans("MOOD22", most_size_mm=60.0))
    torch.manual_seed(0)
    brain = torch.zeros(300, 1, 64, 64)
    brain[:, :, 4:60, 4:60] = 1
    weights = method.weights(brain)
    assert (weights[brain == 0] == 0).all()
    most = weights.amax(dim=(1, 2, 3))
    anomalous = most > 0
    assert 0.85 < float(anomalous.float().mean()) < 0.95
    assert most.max() <= 1 and most[anomalous].quantile(0.1) > 0.25
    levels = torch.tensor([len((w[w > 0] / w.max()).unique()) for w in weights[anomalous]])
    assert 0.3 < float((levels > 1).float().mean()) < 0.6, "half of the edges are soft"


def test_patches_are_other_slices_some_of_them_changed(small_plans):
    method = mood22.MOOD22(small_plans("MOOD22"))
    torch.manual_seed(0)
    flat = torch.full((200, 1, 8, 8), 0.5)
    found = method.patches(flat)
    noisy = found.std(dim=(1, 2, 3)) > 0.05
    moved = ((found.mean(dim=(1, 2, 3)) - 0.5).abs() > 1e-4) & ~noisy
    assert 0.12 < float(noisy.float().mean()) < 0.28
    assert 0.08 < float(moved.float().mean()) < 0.25
    assert (found[moved] - 0.5).abs().max() <= 0.2 + 1e-6
