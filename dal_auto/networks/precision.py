"""What mixed precision computes in, by device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def half_precision(device: str) -> torch.dtype | None:
    """The type that convolutions are faster in; None where there is none.

    Parameters
    ----------
    device : "cpu", "cuda", "cuda:0", …
    """
    kind = device.split(":")[0]
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # Other processors emulate it, slower than float32.
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return torch.bfloat16 if kind == "cpu" and has_bfloat16() else None


def at_least_single(tensor: Tensor) -> Tensor:
    """In float32, where autocast has brought it into less."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(like: Tensor) -> AbstractContextManager[object]:
    """Operations are in the types of their tensors: for differences of what is nearly equal, of
    which half precision leaves nothing.

    Parameters
    ----------
    like : a tensor on the device that computes
    """
    kind = like.device.type
    return nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)
