"""A network whose weights a loss does not reach, so that several players share one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.func import functional_call


def frozen(network: nn.Module) -> Callable[..., Any]:
    """The network as a function: gradients pass through to its input and stop at its weights.

    In a game of two players, a generator's loss asks ``frozen(discriminator)``, and the
    discriminator's asks for what is generated ``.detach()``-ed. The sum of both then gives each
    weight the gradient of its own player's loss: one backward pass and one Adam do for both.
    """
    weights = {name: weight.detach() for name, weight in network.named_parameters()}

    def ask(*inputs: Any) -> Any:
        return functional_call(network, weights, inputs)

    return ask
