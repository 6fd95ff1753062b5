"""DRÆM: sizes of its networks, its noise, what it pastes, and its losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dal_auto.methods.draem import anomalies, model, network
from dal_auto.networks.perlin_noise import perlin_noise


def test_networks_are_as_large_as_the_published_code_is():
    """Counted from its layer list for three colours: 69.0 and 28.4 million. One channel saves
    2 × 3 × 3 × 128 + 2 × (3 × 3 × 128) + 2 weights here, 4 × 3 × 3 × 64 there."""
    with torch.device("meta"):
        both = network.DRAEMNetwork(128, 64)
        restored, logits = both(torch.empty(1, 1, 64, 96))
    assert restored.shape == (1, 1, 64, 96) and logits.shape == (1, 2, 64, 96)
    sizes = [
        sum(p.numel() for p in part.parameters()) / 1e6
        for part in (both.reconstructor, both.segmenter)
    ]
    assert sizes == pytest.approx([69.0, 28.4], abs=0.06)


def test_perlin_noise_is_0_on_its_lattice_and_as_by_hand_between():
    torch.manual_seed(0)
    field = perlin_noise((32, 32), torch.tensor([[4.0, 4.0]]), torch.zeros(1))
    assert field.shape == (1, 1, 32, 32) and (field[0, 0, ::8, ::8].abs() < 1e-5).all()
    torch.manual_seed(0)
    angles = 2 * math.pi * torch.rand(1, 64, 64)[0].numpy()
    y, x = 13 / 8, 22 / 8  # of row 13 and column 22, in cells
    total = 0.0
    for i in (1, 2):
        for j in (2, 3):
            ty, tx = abs(y - i), abs(x - j)
            fade = [1 - (6 * t**5 - 15 * t**4 + 10 * t**3) for t in (ty, tx)]
            slope = np.cos(angles[i, j]) * (y - i) + np.sin(angles[i, j]) * (x - j)
            total += fade[0] * fade[1] * slope
    assert float(field[0, 0, 13, 22]) == pytest.approx(math.sqrt(2) * total, abs=1e-5)


def test_turned_noise_is_the_noise_turned():
    torch.manual_seed(3)
    straight = perlin_noise((33, 33), torch.tensor([[4.0, 4.0]]), torch.zeros(1))
    torch.manual_seed(3)
    quarter = perlin_noise((33, 33), torch.tensor([[4.0, 4.0]]), torch.tensor([math.pi / 2]))
    # Column j lies at j/33 − 1/2, which a turn by 90° brings to row 33 − j.
    expected = straight[0, 0].flip(0)[:-1].T
    torch.testing.assert_close(quarter[0, 0, :, 1:], expected, atol=1e-4, rtol=1e-4)


def test_what_is_pasted_is_the_published_mixture_within_its_mask():
    torch.manual_seed(0)
    slices, brain = torch.rand(40, 1, 32, 32), torch.ones(40, 1, 32, 32)
    brain[:, :, :5] = 0
    found = anomalies.pasted(slices, brain, scales=4, most_kept=0.8, share=0.5)
    outside = found.masks == 0
    assert torch.equal(found.slices[outside], slices[outside])
    assert (found.masks[:, :, :5] == 0).all()
    anomalous = found.masks.flatten(1).any(dim=1)
    assert 5 < int(anomalous.sum()) < 30, "half of them, less the empty shapes"
    assert found.slices.min() >= 0 and found.slices.max() <= 1
    texture_at_most = (found.slices - slices).abs()[found.masks > 0]
    assert texture_at_most.max() > 0.3


def test_a_turn_by_nothing_changes_nothing_and_one_is_about_the_middle():
    slices = torch.rand(2, 1, 17, 31)
    torch.testing.assert_close(anomalies.turned(slices, 0.0, 1.0), slices, atol=1e-5, rtol=1e-5)
    axes = torch.meshgrid(torch.arange(-20.0, 21), torch.arange(-30.0, 31), indexing="ij")
    disc = torch.hypot(*axes)
    disc = (1 - disc / 15).clamp(min=0)[None, None]
    torch.testing.assert_close(anomalies.turned(disc, 80.0, 1.0), disc, atol=0.03, rtol=0)


def test_the_focal_loss_without_focus_is_the_cross_entropy():
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 2, 5, 6), (torch.rand(3, 1, 5, 6) > 0.7).float()
    expected = F.cross_entropy(logits, masks[:, 0].long())
    assert float(model.focal(logits, masks, 0.0)) == pytest.approx(float(expected), abs=1e-4)
    p = torch.exp(-F.cross_entropy(logits, masks[:, 0].long(), reduction="none"))
    by_hand = -((1 - p) ** 2 * p.log()).mean()
    assert float(model.focal(logits, masks, 2.0)) == pytest.approx(float(by_hand), abs=1e-4)
