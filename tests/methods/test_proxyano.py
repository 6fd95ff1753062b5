"""ProxyAno: its pasted patches, who learns from what, and its game."""

from __future__ import annotations

import pytest
import torch

from dal_auto.methods import proxyano, shapes


def test_a_patch_comes_from_the_slice_itself_and_lies_in_the_brain():
    torch.manual_seed(0)
    slices = torch.rand(60, 1, 40, 48)
    brain = torch.zeros_like(slices)
    brain[:, :, 4:36, 8:40] = 1
    found = proxyano.pasted(torch.full_like(slices, 2.0), slices, brain, (0.1, 0.25))
    patch = found != 2
    assert not (patch & (brain == 0)).any()
    rows = patch.any(dim=3).sum(dim=2).float()
    assert 3 <= rows.max() <= 9 and rows.min() >= 1, "10 to 25 % of 32 pixels, less at the rim"
    for one, x in zip(found, slices, strict=True):
        assert torch.isin(one[one != 2], x).all()


def test_what_is_shifted_lies_there_before():
    slices = torch.rand(2, 1, 5, 7)
    found = shapes.shifted(slices, torch.tensor([[1, -2], [0, 3]]))
    for one, x, shift in zip(found, slices, [(1, -2), (0, 3)], strict=True):
        assert torch.equal(one, x.roll([-s for s in shift], dims=(1, 2)))


def test_places_are_those_of_the_brain():
    brain = torch.zeros(50, 1, 9, 11)
    brain[:, :, 3:5, 7] = 1
    rows, columns = shapes.drawn_places(brain).T
    assert set(rows.tolist()) == {3.5, 4.5} and set(columns.tolist()) == {7.5}


@pytest.mark.parametrize(("step", "reaches"), [(0, False), (150, True)])
def test_the_restorers_errors_reach_the_proxy_only_later(step, reaches, small_plans, phantom_batch):
    method = proxyano.ProxyAno(small_plans("ProxyAno", widths=(4, 8)))
    assert method.plans.training.steps == 200
    losses = method.training_step(phantom_batch(0, 1), step)
    weights = list(method.network.proxy.encoder.parameters())
    gradients = torch.autograd.grad(losses["recon"], weights, allow_unused=True)
    assert all((g is not None) == reaches for g in gradients)


def test_the_loss_is_the_sum_of_its_parts_and_the_proxys_target_are_superpixels(small_plans):
    method = proxyano.ProxyAno(
        small_plans("ProxyAno", widths=(4, 8), weight_adversarial=0.1, discriminator_width=2)
    )
    torch.manual_seed(0)
    slices, brain = torch.rand(4, 1, 32, 32), torch.ones(4, 1, 32, 32)
    losses = method.slice_losses(slices, brain)
    parts = {"proxy": 1, "recon": 1, "mended": 1, "entropy": 2e-4, "adversarial": 0.1}
    expected = sum(losses[name] * weight for name, weight in parts.items())
    torch.testing.assert_close(losses["loss"], expected + losses["discriminator"])
    found = (method.network(slices)[0] - method.superpixels(slices, brain)).abs().mean()
    torch.testing.assert_close(losses["proxy"], found, rtol=0.1, atol=0)
