"""Instance normalisation in windows as over the whole volume.

A network with instance normalisation that was trained on whole brains does something else in a
window that holds another share of brain: measured on a trained DAL, windows of three fifths of each
axis gave half of the voxels another tissue class, and a map as far from the whole one's as from 0.
With the whole volume's mean and variance at every layer, 98 % of the classes agree.

These are gathered in windows too, layer by layer: a layer's statistics need those of the layers
before it. So memory stays that of a window, and a network of n layers runs n times up to one of
them and once to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dal_auto.networks.instance_norm import region_norm

_SPACE = (2, 3, 4)
#: What a window without brain weighs.
_LEAST = 1e-12


class _Gathered(Exception):
    """The layer whose statistics are gathered has been reached: what follows is not needed yet."""


class WholeStatistics(TorchFunctionMode):
    """Replaces the networks' instance normalisation: `group_norm` with one group per channel, and
    `region_norm`.

    Between two calls of `close_layer` every window is given once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: list[tuple[Tensor, Tensor]] = []  # (channel,) mean and variance, by layer
        self._gathered: list[tuple[Tensor, Tensor, Tensor]] = []  # of windows
        self._layer = 0
        self._shares: Tensor | None = None

    def run(
        self, network: Callable[[Tensor], Tensor], windows: Tensor, shares: Tensor
    ) -> Tensor | None:
        """`network` over `windows`; None where it met a layer whose statistics are not known yet.

        Parameters
        ----------
        windows : (N, C, x, y, z)
        shares : (N, 1, x, y, z) what each voxel counts; over all windows 1 at each of the volume
        """
        self._layer, self._shares = 0, shares
        try:
            with self:
                return network(windows)
        except _Gathered:
            return None

    def close_layer(self) -> bool:
        """All windows were given: whether a layer's statistics are known now that were not."""
        if not self._gathered:
            return False
        weight, mean, variance = (torch.cat(parts) for parts in zip(*self._gathered, strict=True))
        weight = weight / weight.sum()
        whole = (weight * mean).sum(0)
        # The law of total variance: no difference of two large numbers.
        self._known.append((whole, (weight * (variance + (mean - whole).square())).sum(0)))
        self._gathered = []
        return True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is region_norm:
            return self._normalised(args[0], inside=kwargs["inside"])
        if getattr(func, "__name__", "") == "group_norm" and args[1] == args[0].shape[1]:
            return self._normalised(*args[:1], *args[2:5], **kwargs)
        return func(*args, **kwargs)

    def _normalised(
        self,
        features: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        inside: Tensor | None = None,
    ) -> Tensor:
        features = features.float()  # as autocast has it for this operation
        layer, self._layer = self._layer, self._layer + 1
        if layer == len(self._known):
            self._gather(features, inside)
            raise _Gathered
        mean, variance = self._known[layer]
        scale = torch.rsqrt(variance + eps)
        scale = scale if weight is None else scale * weight.float()
        shift = -mean * scale
        shift = shift if bias is None else shift + bias.float()
        return features.mul(_spread(scale)).add_(_spread(shift))

    def _gather(self, features: Tensor, inside: Tensor | None) -> None:
        assert self._shares is not None, "it is `run` that starts a network"
        x, y, z = features.shape[2:]
        shares = F.adaptive_avg_pool3d(self._shares, (x, y, z))
        if inside is not None:
            shares = shares * inside
        total = shares.sum(_SPACE).clamp(min=_LEAST)
        mean = (features * shares).sum(_SPACE) / total
        deviation = (features - mean[..., None, None, None]).square_()
        self._gathered.append((total, mean, deviation.mul_(shares).sum(_SPACE) / total))


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
