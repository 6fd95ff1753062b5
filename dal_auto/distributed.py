"""Several processes that train one model: what each must ask of the others.

Without a process group (``torchrun`` starts one) everything here is the one process's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.distributed.nn import functional as collective


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if is_distributed() else 1


def rank() -> int:
    """This process's number; 0 is the one that writes files."""
    return distributed.get_rank() if is_distributed() else 0


def gathered(local: Tensor) -> Tensor:
    """`local` of all processes, one after the other along the first axis; gradients flow back.

    Every process then holds the same loss of the whole batch, and sends each other process the
    gradients of its part. They are summed there, and averaged over processes with the parameters'
    (as ``DistributedDataParallel`` does), which makes them those of one process with that batch.

    Parameters
    ----------
    local : (P, …), of the same shape in every process
    """
    if not is_distributed():
        return local
    if not local.requires_grad:
        parts = [torch.empty_like(local) for _ in range(world_size())]
        distributed.all_gather(parts, local.contiguous())
        return torch.cat(parts)
    return torch.cat(collective.all_gather(local.contiguous()))  # type: ignore[no-untyped-call]
