"""What does not fit a device's memory is done in smaller windows, and at last on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch

from dal_auto.case import Shape
from dal_auto.methods.method import Method
from dal_auto.planning.advice import OutOfMemory, is_out_of_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Smaller windows save no memory: the margins of a convolution are as large as they.
_SMALLEST = 16
#: The windows that fitted last, by device: the next image need not find them again.
_fitting: WeakKeyDictionary[Method, dict[str, Shape]] = WeakKeyDictionary()
#: Methods that no device but the CPU has memory for: they are there, and stay.
_on_cpu: WeakSet[Method] = WeakSet()


def within_memory(method: Method, device: str, work: Callable[[str, Shape], T]) -> T:
    """Do `work` on `device` in the largest windows that fit its memory; where none does, on the
    CPU. The result is the same but for the rounding.

    Parameters
    ----------
    method : on `device`; if its memory does not suffice, it is moved to the CPU and stays there
    work : of a device and a window, see `sliding_window`

    Raises
    ------
    OutOfMemory
        if the CPU's memory does not suffice either.
    """
    if method in _on_cpu:
        device = "cpu"
    fitting = _fitting.setdefault(method, {})
    for window in _windows(method, fitting.get(device)):
        found = _attempt(work, device, window)
        if found is not None:
            fitting[device] = window
            return found[0]
        _free(device)
        size = "×".join(map(str, window))
        logger.warning("%s: memory runs out in windows of %s voxels", device, size)
    if device == "cpu":
        raise OutOfMemory(
            f"the memory does not suffice for {method.name}, even in windows of {size} voxels. "
            "Close other programs, or use a machine with more memory."
        )
    logger.warning(
        "%s: its memory does not suffice; the CPU does this image and the next, which is slow",
        device,
    )
    method.to("cpu")
    _on_cpu.add(method)
    _free(device)
    return within_memory(method, "cpu", work)


def _windows(method: Method, known: Shape | None) -> Iterator[Shape]:
    """The one that fitted last, else the plans', then halves down to the smallest."""
    plan = method.plans.configuration
    x, y, z = known or map(min, plan.window, plan.input_shape)
    yield x, y, z
    while max(x, y, z) > _SMALLEST:
        x, y, z = (min(size, max(_SMALLEST, size // 2)) for size in (x, y, z))
        yield x, y, z


def _attempt(work: Callable[[str, Shape], T], device: str, window: Shape) -> tuple[T] | None:
    """The result, or None where memory ran out. The error is gone by then, and with it the tensors
    that its traceback holds."""
    try:
        return (work(device, window),)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def _free(device: str) -> None:
    """Give back what torch keeps for later."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
