"""What mixed precision computes in, by device."""

from __future__ import annotations

import torch


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
