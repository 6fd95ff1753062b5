"""How much memory a method's training and prediction take, counted without taking it.

The method's own code runs at its full size on torch's ``meta`` device, where tensors have shapes
but no values, while every tensor's bytes are counted from its birth to its death. So the count
holds for any method, and includes weights, gradients, Adam's moments, what is kept for the backward
pass, and temporaries. It does not see what a library allocates within one operation, the
allocator's gaps, nor the runtime: `_ALLOWANCE` stands for these.

Checked on CPU against the memory that processes take (``benchmarks/memory.py``). For CUDA it is
modelled and not measured; mixed precision follows torch's published lists of operations.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import CheckpointError

from dal_auto.methods.method import Batch, GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans

logger = logging.getLogger(__name__)

#: kind of device → (factor, GB) from counted to needed: libraries' workspaces and the allocator's
#: gaps; and the runtime (interpreter and libraries, or CUDA's context). For the CPU measured
#: (docs/plans.md), for the others an allowance, not measured.
_ALLOWANCE = {"cpu": (1.05, 0.9), "cuda": (1.1, 1.0), "mps": (1.1, 1.0)}

_SOURCE = "ours: counted tensor by tensor, and an allowance"
#: Far beyond every warm start.
_LATE_STEP = 10**9

#: Operations that autocast on CUDA runs in half precision, and in float32, by the names under which
#: Python calls them (torch's ``ATen/autocast_mode.h``).
_IN_HALF = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "prelu", "matmul", "__matmul__", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum"),
    "scaled_dot_product_attention",
}
_IN_FLOAT = {
    *("exp", "log", "log1p", "pow", "__pow__", "reciprocal", "rsqrt", "softplus", "logsumexp"),
    *("layer_norm", "rms_norm", "group_norm", "norm", "dist", "cdist", "softmax", "log_softmax"),
    *("cosine_similarity", "cosine_embedding_loss", "nll_loss", "cross_entropy", "kl_div"),
    *("l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss", "triplet_margin_loss"),
    *("binary_cross_entropy_with_logits", "interpolate", "prod", "cumsum", "cumprod", "sum"),
}


@dataclass(frozen=True)
class Memory:
    """What a configuration takes on one kind of device, in GB (10⁹ bytes).

    Parameters
    ----------
    weights : how many weights are trained
    training_gb, prediction_gb : peak, with the allowance
    source : how it is known
    """

    weights: int
    training_gb: float
    prediction_gb: float
    source: str


def memory_of(plans: Plans, kind: str) -> Memory | None:
    """What training and predicting with `plans` takes on a kind of device ("cuda", "cpu", "mps").

    Returns
    -------
    None for a method that is not trained by gradients (it holds a volume or two), and for one
    whose code needs values and so does not run without them.
    """
    content = plans.to_json()
    content.pop("value_sources", None)  # for people: no method reads them
    return _memory_of(json.dumps(content, sort_keys=True), kind)


@lru_cache(maxsize=128)
def _memory_of(content: str, kind: str) -> Memory | None:
    """`memory_of` plans as JSON. The planner asks again and again for the same candidates."""
    plans = Plans.parse(json.loads(content))
    if not issubclass(find_method(plans.method.name), GradientMethod):
        return None
    try:
        try:
            weights, training = count_training(plans, amp=plans.training.amp and kind == "cuda")
        except CheckpointError:  # what is computed again is so outside the mode that stands for AMP
            weights, training = count_training(plans, amp=False)  # a little more
        prediction = count_prediction(plans)
    except (NotImplementedError, RuntimeError):
        logger.debug("the memory of %s cannot be counted", plans.method.name, exc_info=True)
        return None
    factor, runtime_gb = _ALLOWANCE.get(kind, _ALLOWANCE["cuda"])
    return Memory(
        weights,
        training_gb=factor * training / 1e9 + runtime_gb,
        prediction_gb=factor * prediction / 1e9 + runtime_gb,
        source=_SOURCE if kind == "cpu" else f"{_SOURCE}; not measured on a GPU",
    )


def count_training(plans: Plans, *, amp: bool) -> tuple[int, int]:
    """(number of weights, peak bytes) of a step of the shared trainer, once Adam has its moments.

    Parameters
    ----------
    amp : convolutions in half precision, as autocast on CUDA has them
    """
    configuration = plans.configuration
    subjects, size = configuration.batch_subjects, configuration.input_shape
    with ByteCount() as count, torch.device("meta"):
        method = find_method(plans.method.name)(plans)
        assert isinstance(method, GradientMethod)
        parameters = list(method.network.parameters())
        moments = [torch.empty_like(p) for p in parameters for _ in range(2)]
        for parameter in parameters:  # the last step's gradients live until the backward pass
            parameter.grad = torch.empty_like(parameter)
        batch = Batch(
            torch.empty(subjects, len(plans.sequences), *size),
            torch.empty(subjects, 1, *size),
            torch.ones(subjects, len(plans.sequences), dtype=torch.bool),
        )
        with _autocast(amp):
            loss = method.training_step(batch, _LATE_STEP)["loss"]
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        del moments
    return sum(p.numel() for p in parameters), count.peak


def count_prediction(plans: Plans) -> int:
    """Peak bytes of asking the method for one anomaly map, in the windows of the plans."""
    configuration = plans.configuration
    with ByteCount() as count, torch.device("meta"), torch.no_grad():
        method = find_method(plans.method.name)(plans)
        image, mask = (torch.empty(configuration.input_shape) for _ in range(2))
        method.detect(image, mask, plans.sequences[0], _first_window(plans))
    return count.peak


def _first_window(plans: Plans) -> Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]:
    """A stand-in for the windows, which takes no less: all of a network on one window, where there
    one convolution at a time runs on it."""
    x, y, z = plans.configuration.window

    def tile(network: Callable[[Tensor], Tensor], volume: Tensor) -> Tensor:
        result = network(volume[..., :x, :y, :z])
        return result.new_empty(1, result.shape[1], *volume.shape[2:])

    return tile


class ByteCount(TorchDispatchMode):
    """Counts the bytes of all tensors that are made within it and still live.

    Attributes
    ----------
    live, peak : bytes now, and the most there were
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._born(tensor.untyped_storage())
        return result

    def _born(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata  # views share it
        if address not in self._sizes:
            self._sizes[address] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._died, address)

    def _died(self, address: int) -> None:
        self.live -= self._sizes.pop(address)


class _CudaAutocast(TorchFunctionMode):
    """Casts as autocast does on CUDA, for tensors that are on no device.

    `torch.autocast` knows no meta device. Operations that a Python function calls within are not
    seen: they stay as they are, which counts too much rather than too little.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        dtype = torch.bfloat16 if name in _IN_HALF else torch.float32 if name in _IN_FLOAT else None
        kwargs = kwargs or {}
        if dtype is not None:
            args, kwargs = tree_map(lambda value: _cast(value, dtype), (args, kwargs))
        return func(*args, **kwargs)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    castable = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.bfloat16)
    return value.to(dtype) if castable else value


def _autocast(enabled: bool) -> AbstractContextManager[Any]:
    return _CudaAutocast() if enabled else nullcontext()
