"""A network over a volume in windows, with the result that it has over the whole.

A network that was trained on whole brains sees as far as the brain reaches, and normalises over all
of it. Cut into windows whose results are stitched, it does something else: measured on a trained
DAL, windows of half of each axis gave a map 40 % away from the whole one's, even with the whole
brain's statistics at every normalisation. So it is each convolution that runs in windows, each with
the margin that its kernel reaches over. All else is done on whole volumes, in the host's memory:
what the device holds is one convolution of one window.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dal_auto.case import Shape

_HOST = torch.device("cpu")


@torch.no_grad()
def in_windows(network: Callable[[Tensor], Tensor], volume: Tensor, window: Shape) -> Tensor:
    """Run `network` over `volume`; where one window covers it, this is one plain call.

    Parameters
    ----------
    network : (1, C, x, y, z) → (1, C', x', y', z'), of functions of torch; called once
    volume : (1, C, x, y, z)
    window : voxels that a convolution computes at once, on the grid of its result

    Returns
    -------
    (1, C', x', y', z') float32, on the device of `volume`
    """
    if _fits(volume.shape[2:], window):
        return network(volume).float()
    with _ConvolutionsInWindows(window, volume.device):
        result = network(volume.to(_HOST))
    return result.float().to(volume.device)


class _ConvolutionsInWindows(TorchFunctionMode):
    """`conv3d` of a volume that is larger than a window runs on the device, window by window; any
    other function of a volume in the host's memory runs there."""

    def __init__(self, window: Shape, device: torch.device) -> None:
        super().__init__()
        self._window, self._device = window, device

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv3d and args[0].device == _HOST:
            return self._convolved(*args, **kwargs)
        if self._device != _HOST and any(t.device == _HOST for t in _tensors(args)):
            args = _on_the_host(args)
            kwargs = {name: _on_the_host(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)

    def _convolved(
        self,
        volume: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        """As `conv3d`, in float32 in the host's memory."""
        steps, holes = _triple(stride), _triple(dilation)
        reach = [hole * (size - 1) for hole, size in zip(holes, weight.shape[2:], strict=True)]
        before, after = _margins(padding, reach)
        shape = [
            (size + low + high - wide - 1) // step + 1
            for size, low, high, wide, step in zip(
                volume.shape[2:], before, after, reach, steps, strict=True
            )
        ]
        result = torch.empty(len(volume), len(weight), *shape)
        if volume.is_contiguous(memory_format=torch.channels_last_3d):
            result = result.contiguous(memory_format=torch.channels_last_3d)
        for box in _boxes(shape, self._window):
            source, pads = zip(
                *(
                    _source(*axis)
                    for axis in zip(box, volume.shape[2:], before, reach, steps, strict=True)
                ),
                strict=True,
            )
            part = volume[(..., *source)].to(self._device)
            part = F.pad(part, list(itertools.chain(*reversed(pads))))
            found = torch.conv3d(part, weight, bias, steps, 0, holes, groups)
            result[(..., *box)] = found.to(_HOST, torch.float32)
        return result


def _source(
    target: slice, size: int, before: int, reach: int, step: int
) -> tuple[slice, tuple[int, int]]:
    """What a part of a convolution's result is made of, along one axis: voxels of the input, and
    how many zeros stand before and after them."""
    first = target.start * step - before
    end = (target.stop - 1) * step - before + reach + 1
    inside = slice(min(max(first, 0), size), max(min(end, size), 0))
    zeros = end - first - (inside.stop - inside.start)
    leading = min(max(-first, 0), zeros)
    return inside, (leading, zeros - leading)


def _boxes(shape: Sequence[int], window: Shape) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes of the window's size, side by side, that make up a volume."""
    axes = (
        [slice(start, min(start + most, size)) for start in range(0, size, most)]
        for size, most in zip(shape, window, strict=True)
    )
    yield from itertools.product(*axes)  # type: ignore[misc]


def _margins(
    padding: str | int | Sequence[int], reach: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis."""
    if padding == "same":
        return [wide // 2 for wide in reach], [wide - wide // 2 for wide in reach]
    each = _triple(0 if isinstance(padding, str) else padding)  # the other word is "valid"
    return each, each


def _triple(values: int | Sequence[int]) -> list[int]:
    several = [values] if isinstance(values, int) else list(values)
    return several * 3 if len(several) == 1 else several


def _fits(shape: Sequence[int], window: Shape) -> bool:
    return all(size <= most for size, most in zip(shape, window, strict=True))


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among a function's arguments that are more than a number."""
    if isinstance(values, Tensor):
        if values.ndim:
            yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _on_the_host(values: Any) -> Any:
    """The same arguments, all tensors in the host's memory."""
    if isinstance(values, Tensor):
        return values.to(_HOST)
    if isinstance(values, tuple | list):
        return type(values)(_on_the_host(value) for value in values)
    return values
