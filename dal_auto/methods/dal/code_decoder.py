"""What the anatomical code holds, made visible (§4.8.2, Fig. 4) by a decoder that is fitted apart.

The paper "added a decoder to R_E". Ours is the best linear one: each voxel of the code gives the
block of voxels of the anatomical image that it stands for, by least squares over brains of the
training set. It is found in closed form after training, touches none of the model's weights, and
cannot add what the code does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

#: Of the codes' own variance: without it, channels that say the same would make no inverse.
_RIDGE = 1e-4


def fit_decoder(pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The weights that give A from the code with the least squared error.

    Parameters
    ----------
    pairs : code (N, c, …), anatomical image (N, 1, f·…) and brain mask of the same shape; f is a
        whole number, and code voxels that stand for more than brain are left out

    Returns
    -------
    (c + 1, f³) float32 on the CPU; the last row is the constant
    """
    squares: Tensor | None = None
    products: Tensor | None = None
    for code, anatomy, mask in pairs:
        factor = anatomy.shape[2] // code.shape[2]
        here = _blocks(mask, factor).amin(dim=1) > 0
        inputs, outputs = (
            values[here].cpu().double()  # not every device has float64
            for values in (_with_constant(code), _blocks(anatomy, factor))
        )
        both = inputs.T @ inputs, inputs.T @ outputs
        squares = both[0] if squares is None else squares + both[0]
        products = both[1] if products is None else products + both[1]
    assert squares is not None and products is not None, "there is a brain at least"
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype)
    return torch.linalg.solve(squares + ridge, products).float()


def decode(code: Tensor, weights: Tensor) -> Tensor:
    """(N, c, x, y, z) → the anatomical image (N, 1, f·x, f·y, f·z) that the code holds."""
    factor = round(weights.shape[1] ** (1 / 3))
    x, y, z = code.shape[2:]
    return rearrange(
        _with_constant(code) @ weights.to(code.device),
        "(n x y z) (i j k) -> n 1 (x i) (y j) (z k)",
        x=x, y=y, z=z, i=factor, j=factor, k=factor,
    )  # fmt: skip


def _with_constant(code: Tensor) -> Tensor:
    """(N, c, …) → (voxels, c + 1)."""
    return F.pad(code.float().movedim(1, -1).flatten(0, -2), (0, 1), value=1.0)


def _blocks(volume: Tensor, factor: int) -> Tensor:
    """(N, 1, f·x, f·y, f·z) → (N·x·y·z, f³)."""
    pattern = "n 1 (x i) (y j) (z k) -> (n x y z) (i j k)"
    return rearrange(volume, pattern, i=factor, j=factor, k=factor)
