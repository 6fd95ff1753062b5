"""The discriminator of patches: its size, and that each player learns from its own loss alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dal_auto.networks.patch_discriminator import PatchDiscriminator, players_losses


def test_it_is_as_large_as_published():
    """2.8 million: 4×4 convolutions of 64, 128, 256, 512 and 1 channels."""
    with torch.device("meta"):
        network = PatchDiscriminator()
        assert network(torch.empty(1, 1, 128, 128)).shape == (1, 1, 14, 14)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(2.76, abs=0.01)


def test_one_sum_gives_each_player_the_gradient_of_its_own_loss():
    torch.manual_seed(0)
    judge, maker = PatchDiscriminator(2).eval(), nn.Conv2d(1, 1, 3, padding=1)
    real, seed = torch.rand(2, 2, 1, 32, 32)
    both = players_losses(judge, maker(seed), real)

    def gradients(loss: torch.Tensor, network: nn.Module) -> list[torch.Tensor | None]:
        parameters = list(network.parameters())
        return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))

    assert gradients(both[0], judge) == [None] * len(list(judge.parameters()))
    assert gradients(both[1], maker) == [None] * 2
    expected = (judge(maker(seed).detach()) ** 2).mean() / 2 + ((judge(real) - 1) ** 2).mean() / 2
    torch.testing.assert_close(both[1], expected)
    torch.testing.assert_close(both[0], ((judge(maker(seed)) - 1) ** 2).mean())
    assert all(float(g.abs().sum()) > 0 for g in gradients(both[0], maker))
