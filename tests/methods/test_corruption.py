"""Foreign patches, biases, and the shapes that they are pasted in."""

from __future__ import annotations

import pytest
import torch

from dal_auto.methods import corruption
from dal_auto.methods.shapes import rough_discs


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_disc_has_its_radius_and_its_edge_in_mm():
    brain = torch.ones(40, 1, 60, 90)
    hard = rough_discs(brain, (2.0, 1.0), (6.0, 6.0), 0.0, (0.01, 0.02))[:, 0]
    whole = hard[(hard[:, 0] == 0).all(1) & (hard[:, :, 0] == 0).all(1)]
    whole = whole[(whole[:, -1] == 0).all(1) & (whole[:, :, -1] == 0).all(1)]
    areas_mm2 = whole.sum(dim=(1, 2)) * 2
    assert len(whole) > 10 and ((areas_mm2 - torch.pi * 36).abs() < 12).all()
    soft = rough_discs(brain, (1.0, 1.0), (10.0, 10.0), 0.0, (8.0, 8.0))
    between = (soft > 0) & (soft < 1)
    assert between.sum() > 0.5 * (soft > 0).sum(), "an edge of 8 in a radius of 10"


def test_rough_shapes_lie_in_the_brain_and_are_no_discs():
    brain = torch.zeros(20, 1, 64, 64)
    brain[:, :, 8:56, 8:56] = 1
    found = rough_discs(brain, (1.0, 1.0), (8.0, 20.0), 0.4, (1.0, 4.0))
    assert (found[brain == 0] == 0).all() and found.min() >= 0 and found.max() <= 1
    assert (found.flatten(1) > 0).any(dim=1).all(), "each has some"
    extents = [(found > 0.5).any(dim=axis).sum(dim=-1).float() for axis in (2, 3)]
    assert ((extents[0] / extents[1].clamp(min=1)).log().abs() > 0.1).any()


def test_other_slices_are_none_of_their_own():
    slices = torch.arange(5.0)[:, None, None, None].expand(5, 1, 8, 8)
    found = corruption.other_slices(slices)
    assert torch.equal(found[:, 0, 0, 0], slices.roll(1, 0)[:, 0, 0, 0])


def test_a_patch_is_mixed_in_by_hand_with_the_range_of_what_it_covers(monkeypatch):
    slices, foreign = torch.rand(2, 3, 1, 6, 6)
    monkeypatch.setattr(corruption, "other_slices", lambda slices: foreign)
    shapes = torch.zeros_like(slices)
    shapes[:, :, 1:4, 2:5] = 0.7
    strength = torch.tensor([0.0, 0.5, 1.0])
    found = corruption.patched(slices, shapes, strength)
    for one, x, f, alpha in zip(found, slices, foreign, strength, strict=True):
        inside = (slice(None), slice(1, 4), slice(2, 5))
        x_in, f_in = x[inside], f[inside]
        fitted = (f_in - f_in.min()) / (f_in.max() - f_in.min())
        fitted = x_in.min() + fitted * (x_in.max() - x_in.min())
        expected = x.clone()
        expected[inside] = (1 - 0.7 * alpha) * x_in + 0.7 * alpha * fitted
        torch.testing.assert_close(one, expected)


def test_a_bias_changes_by_its_strength_at_most_and_only_within_its_shape():
    slices = torch.rand(30, 1, 24, 24)
    shapes = torch.zeros_like(slices)
    shapes[:, :, 6:18, 6:18] = 1
    strength = torch.full((30,), 0.2)
    change = corruption.biased(slices, shapes, strength) - slices
    assert (change[shapes == 0] == 0).all() and change.abs().max() <= 0.2 + 1e-6
    up, down = (change > 1e-6).flatten(1).any(1), (change < -1e-6).flatten(1).any(1)
    assert not (up & down).any() and up.any() and down.any(), "one sign for a slice"


def test_the_strength_told_is_that_of_the_larger_change():
    slices = 0.3 + 0.4 * torch.rand(20, 1, 16, 16)
    none = corruption.corrupted(slices, torch.zeros_like(slices))
    assert torch.equal(none.slices, slices) and (none.strength == 0).all()
    found = corruption.corrupted(slices, torch.ones_like(slices))
    assert (found.strength > 0).all() and (found.strength <= 1).all()
    assert found.slices.min() >= 0 and found.slices.max() <= 1
