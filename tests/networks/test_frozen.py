"""Two players in one step: the same weights as two optimisers in turns of a hand-written loop."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from dal_auto.networks.frozen import frozen


def players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    return generator, nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


def test_gradients_reach_the_input_and_not_the_weights():
    _, network = players()
    given = torch.rand(4, 2, requires_grad=True)
    frozen(network)(given).sum().backward()
    assert given.grad is not None and given.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in network.parameters())


def test_one_adam_over_the_sum_is_two_adams_of_each_players_own_loss():
    """Both losses are of the same weights: the players move at once."""
    generator, discriminator = players()
    theirs = copy.deepcopy((generator, discriminator))
    both = [*generator.parameters(), *discriminator.parameters()]
    one = torch.optim.Adam(both, lr=1e-2)
    two = [torch.optim.Adam(player.parameters(), lr=1e-2) for player in theirs]
    for step in range(5):
        torch.manual_seed(step)
        noise, real = torch.randn(6, 3), torch.rand(6, 2)

        made = generator(noise)
        fooled = F.mse_loss(frozen(discriminator)(made), torch.ones(6, 1))
        told = F.mse_loss(discriminator(made.detach()), torch.zeros(6, 1))
        told = told + F.mse_loss(discriminator(real), torch.ones(6, 1))
        one.zero_grad()
        (fooled + told).backward()
        one.step()

        made = theirs[0](noise)
        fooled = F.mse_loss(theirs[1](made), torch.ones(6, 1))
        gradients = torch.autograd.grad(fooled, list(theirs[0].parameters()))
        told = F.mse_loss(theirs[1](theirs[0](noise).detach()), torch.zeros(6, 1))
        told = told + F.mse_loss(theirs[1](real), torch.ones(6, 1))
        two[1].zero_grad()
        told.backward()
        for weight, gradient in zip(theirs[0].parameters(), gradients, strict=True):
            weight.grad = gradient
        for optimiser in two:
            optimiser.step()
    expected = [w for player in theirs for w in player.parameters()]
    for ours, other in zip(both, expected, strict=True):
        torch.testing.assert_close(ours, other)
