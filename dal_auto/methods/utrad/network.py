"""A U-shaped transformer that restores a grid of features (gordon-chenmo/UTRAD; facts only)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

#: Edge of a group of tokens, which becomes one token of the next level.
GROUP = 4
_SLOPE = 0.2


class Bottleneck(nn.Sequential):
    """What a skip lets through."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__(
            nn.Linear(width, narrow), nn.LayerNorm(narrow), nn.GELU(),
            nn.Linear(narrow, width), nn.LayerNorm(width),
        )  # fmt: skip


class UTransformer(nn.Module):
    """Groups of 4×4 tokens to one token, level by level, and back with narrow skips.

    Parameters
    ----------
    channels : of the features
    grid : positions along each axis, a power of 4
    width, heads, layers, feed_forward, dropout : of the transformers; `layers` in each block
    narrow : channels that a skip lets through
    """

    def __init__(
        self,
        channels: int,
        grid: int,
        *,
        width: int,
        heads: int,
        layers: int,
        feed_forward: int,
        narrow: int,
        dropout: float,
    ) -> None:
        super().__init__()
        levels = (grid.bit_length() - 1) // 2
        self.enter = nn.Conv2d(channels, width, 1)
        self.place = nn.Parameter(torch.randn(width, grid, grid))
        sizes = {"dim_feedforward": feed_forward, "dropout": dropout, "activation": "gelu"}
        down = [nn.TransformerEncoderLayer(width, heads, **sizes) for _ in range(levels)]  # type: ignore[arg-type]
        up = [nn.TransformerDecoderLayer(width, heads, **sizes) for _ in range(levels)]  # type: ignore[arg-type]
        # One norm for all blocks of a kind, as published.
        down_norm, up_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.down = nn.ModuleList(
            nn.TransformerEncoder(layer, layers, down_norm, enable_nested_tensor=False)
            for layer in down
        )
        self.up = nn.ModuleList(nn.TransformerDecoder(layer, layers, up_norm) for layer in up)
        tokens = GROUP**2
        self.places = nn.ParameterList(torch.randn(tokens, 1, width) for _ in range(levels))
        self.queries = nn.ParameterList(torch.randn(tokens, 1, width) for _ in range(levels))
        self.skips = nn.ModuleList(Bottleneck(width, narrow) for _ in range(levels))
        self.leave = nn.Conv2d(width, channels, 1)
        steps = [width, width // 2, width // 4, width // 8]
        self.error = nn.Sequential(*_error_head(width, steps))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, grid, grid) → restored features, and the error that is predicted (n, 1, …)."""
        tokens = self.enter(features) + self.place
        skips = []
        for block, place, skip in zip(self.down, self.places, self.skips, strict=True):
            groups = grouped(tokens)
            zero = groups.new_zeros(1, *groups.shape[1:])
            encoded = block(torch.cat([zero, groups + place]))
            skips.append(skip(encoded[1:]))
            edge = tokens.shape[-1] // GROUP
            tokens = encoded[0].unflatten(0, (len(features), edge, edge)).permute(0, 3, 1, 2)
        for block, query in zip(reversed(self.up), reversed(self.queries), strict=True):
            above = tokens.permute(0, 2, 3, 1).flatten(0, 2)[None]
            memory = torch.cat([above, skips.pop()])
            decoded = block(query.expand(-1, memory.shape[1], -1), memory)
            tokens = ungrouped(decoded, len(features), GROUP * tokens.shape[-1])
        restored: Tensor = self.leave(tokens)
        return restored, self.error(tokens.detach())


def grouped(tokens: Tensor) -> Tensor:
    """(n, C, S, S) → (16, n·(S/4)², C): the tokens of each group of 4×4, first axis."""
    return rearrange(tokens, "n c (x i) (y j) -> (i j) (n x y) c", i=GROUP, j=GROUP)


def ungrouped(groups: Tensor, count: int, edge: int) -> Tensor:
    """Undo `grouped`."""
    x = edge // GROUP
    return rearrange(groups, "(i j) (n x y) c -> n c (x i) (y j)", n=count, x=x, y=x, i=GROUP)


def _error_head(before: int, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(before, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
        before = width
    return [*layers, nn.Conv2d(before, 1, 1)]
