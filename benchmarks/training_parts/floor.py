"""The arithmetic floor of a step: its convolutions alone, at the speed this machine reaches."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)


@dataclass(frozen=True)
class Call:
    """One call of a convolution.

    Parameters
    ----------
    shape : of its input
    dtype : what it computes in
    into_input : whether a gradient flows on into the input
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    into_input: bool


def recorded(network: nn.Module, step: Callable[[], object]) -> Counter[Call]:
    """The convolutions of one `step`, with how often each is called."""
    calls: Counter[Call] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv3d) and isinstance(module.padding, tuple)
        x = inputs[0]
        mixed = torch.is_autocast_enabled(x.device.type)
        call = Call(
            torch.get_autocast_dtype(x.device.type) if mixed else x.dtype,
            tuple(x.shape),
            tuple(module.weight.shape),
            module.stride,
            module.padding,
            x.requires_grad,
        )
        calls[call] += 1

    hooks = [
        module.register_forward_pre_hook(note)
        for module in network.modules()
        if isinstance(module, nn.Conv3d)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return calls


def floor_seconds(calls: Counter[Call], repeats: int) -> tuple[float, float]:
    """Seconds of all calls, forward and backward, each in the layout that is fastest for it; and
    their multiply-adds in 10⁹."""
    seconds, giga = 0.0, 0.0
    for call, count in calls.items():
        seconds += count * min(_seconds(call, layout, repeats) for layout in LAYOUTS)
        out = [
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(
                call.shape[2:], call.padding, call.weight[2:], call.stride, strict=True
            )
        ]
        voxels = call.shape[0] * out[0] * out[1] * out[2]
        weights = torch.Size(call.weight).numel()
        giga += count * voxels * weights * (3 if call.into_input else 2) / 1e9
    return seconds, giga


def _seconds(call: Call, layout: torch.memory_format, repeats: int) -> float:
    """The fastest of some runs: what the machine reaches."""
    x = (
        torch.randn(call.shape, dtype=call.dtype)
        .to(memory_format=layout)
        .requires_grad_(call.into_input)
    )
    weight = torch.randn(call.weight, dtype=call.dtype).to(memory_format=layout).requires_grad_()
    bias = torch.zeros(call.weight[0], dtype=call.dtype, requires_grad=True)
    wanted = [weight, bias, *([x] if call.into_input else [])]
    best = float("inf")
    for turn in range(repeats + 1):
        start = time.perf_counter()
        y = torch.conv3d(x, weight, bias, call.stride, call.padding)
        forward = time.perf_counter() - start
        gradient = torch.randn_like(y)
        start = time.perf_counter()
        torch.autograd.grad(y, wanted, gradient)
        if turn:  # the first call chooses and compiles its kernels
            best = min(best, forward + time.perf_counter() - start)
    return best
