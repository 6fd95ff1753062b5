"""A memory of normal patterns that a code is rebuilt from (Gong et al., ICCV 2019)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALL = 1e-12


class MemoryUnit(nn.Module):
    """Every code vector becomes a sparse mixture of the memory's items.

    Parameters
    ----------
    items, length : N items of C values, drawn from ±1/√C
    shrinkage : weights up to this become 0
    similarity : "dot" (the published code) or "cosine" (the paper's text)
    """

    def __init__(
        self, items: int, length: int, shrinkage: float, similarity: Literal["dot", "cosine"]
    ) -> None:
        super().__init__()
        self.shrinkage, self.similarity = shrinkage, similarity
        bound = length**-0.5
        self.items = nn.Parameter(torch.empty(items, length).uniform_(-bound, bound))

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, h, w) codes → the rebuilt codes, and the weights (n·h·w, N)."""
        vectors = codes.permute(0, 2, 3, 1).flatten(0, 2)
        weights = self.address(vectors)
        rebuilt = (weights @ self.items).unflatten(0, (len(codes), *codes.shape[2:]))
        return rebuilt.permute(0, 3, 1, 2), weights

    def address(self, vectors: Tensor) -> Tensor:
        """(m, C) → (m, N) weights ≥ 0, many exactly 0, each row with sum 1 (or all 0)."""
        items: Tensor = self.items
        if self.similarity == "cosine":
            vectors, items = F.normalize(vectors, dim=1), F.normalize(items, dim=1)
        return shrunk((vectors @ items.T).softmax(dim=1), self.shrinkage)


def shrunk(weights: Tensor, threshold: float) -> Tensor:
    """Hard shrinkage in its differentiable form, then a sum of 1: (m, N) → (m, N).

    ŵ = max(w − λ, 0)·w / (|w − λ| + ε)
    """
    over = weights - threshold
    kept = F.relu(over) * weights / (over.abs() + _SMALL)
    return F.normalize(kept, p=1.0, dim=1, eps=_SMALL)


def entropy(weights: Tensor) -> Tensor:
    """Mean over rows of −Σ ŵ log ŵ: small where few items are used."""
    return -(weights * (weights + _SMALL).log()).sum(dim=1).mean()
