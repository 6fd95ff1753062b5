"""Several processes that train one model: what each must ask of the others.

Without a process group (``torchrun`` starts one) everything here is the one process's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from dal_auto.errors import UsageError

#: Others wait while rank 0 fills the cache or validates. Should it die, torchrun ends them at once.
_PATIENCE = timedelta(days=1)

_solo = False


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and not _solo


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if is_distributed() else 1


def rank() -> int:
    """This process's number; 0 is the one that writes files."""
    return distributed.get_rank() if is_distributed() else 0


def processes_in_all() -> int:
    """How many processes train this model, also for one that just works alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def local_device(device: str | None) -> str | None:
    """The device of this process, one GPU each, where ``torchrun`` started several.

    Parameters
    ----------
    device : what the user asked for; None for the best there is

    Raises
    ------
    UsageError
        if there are fewer GPUs than processes, or the user names one GPU for all of them.
    """
    if not launched():
        return device
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if ":" in kind:
        raise UsageError(f"torchrun gives each process a GPU of its own: leave out --device {kind}")
    if kind != "cuda":
        return kind
    local, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", local + 1))
    if processes > here:
        raise UsageError(
            f"torchrun started {processes} processes here, and this machine has {here} GPUs: each "
            f"process needs one. Use --nproc-per-node {max(here, 1)}, or --device cpu."
        )
    return f"cuda:{local}"


@contextlib.contextmanager
def group(device: str) -> Iterator[None]:
    """Join the other processes that ``torchrun`` started; alone, this does nothing."""
    if not launched():
        yield
        return
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def solo() -> Iterator[None]:
    """Within, this process works on something of its own, such as validation: it asks nobody."""
    global _solo
    before, _solo = _solo, True
    try:
        yield
    finally:
        _solo = before


def gathered(local: Tensor) -> Tensor:
    """`local` of all processes, one after the other along the first axis; gradients flow back.

    Every process then holds the same loss of the whole batch, and sends each other process the
    gradients of its part. They are summed there, and averaged over processes with the parameters'
    (as ``DistributedDataParallel`` does), which makes them those of one process with that batch.

    Parameters
    ----------
    local : (P, …), of the same shape in every process
    """
    return _Gather.apply(local) if is_distributed() else local  # type: ignore[no-any-return]


class _Gather(torch.autograd.Function):
    """torch has one of its own, which is deprecated, without one that several backends offer."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.size = len(local)
        parts = [torch.empty_like(local.contiguous()) for _ in range(world_size())]
        distributed.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total.narrow(0, rank() * ctx.size, ctx.size)


def mean(local: Tensor) -> Tensor:
    """Mean over processes, the same in each; no gradients."""
    if not is_distributed():
        return local
    total = local.detach().clone()
    distributed.all_reduce(total)
    return total / world_size()


def barrier() -> None:
    """Wait until every process has come here."""
    if is_distributed():
        distributed.barrier()


def told(text: str, device: str) -> str:
    """Rank 0's `text`, in every process (as bytes: nothing is pickled)."""
    if not is_distributed():
        return text
    content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    length = torch.tensor([len(content)], device=device)
    distributed.broadcast(length, 0)
    if rank() != 0:
        content = torch.empty(int(length), dtype=torch.uint8, device=device)
    distributed.broadcast(content, 0)
    return bytes(content.tolist()).decode()
