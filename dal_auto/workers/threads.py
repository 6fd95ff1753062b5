"""How many threads the libraries of this process may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Read by the libraries when they are loaded.
_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("BLOSC_NTHREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"),
)


def wait_passively() -> None:
    """OpenMP's threads sleep when they wait, unless the user chose; before torch is imported.

    By default they spin for a while, and beside another busy process keep the cores from those that
    have work: a training step then takes several times as long (``benchmarks/waiting.py``).
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ["KMP_BLOCKTIME"] = "0"  # Intel's OpenMP, which follows the former less


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> list[Result]:
    """`function` of every item, in their order, by so many threads of this process.

    For work that lets go of Python's lock: SimpleITK, torch, scipy's filters, compression, programs
    that are waited for. What a thread computes must not depend on the others.
    """
    several = list(items)
    if min(at_once, len(several)) <= 1:
        return [function(item) for item in several]
    with ThreadPoolExecutor(min(at_once, len(several))) as pool:
        return list(pool.map(function, several))


def begun(function: Callable[[], Result], *, aside: bool) -> Callable[[], Result]:
    """Begin a piece of work; what is returned waits for its end and gives its result, or its error.

    Parameters
    ----------
    aside : in a thread of its own; otherwise it is done before this returns
    """
    if not aside:
        result = function()
        return lambda: result
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future.result


@contextmanager
def capped_threads(threads: int) -> Iterator[None]:
    """Within, BLAS, OpenMP, ITK, torch and blosc2 use at most `threads` threads each.

    Those not yet loaded read the environment when they are; a light task loads none of them.
    """
    environment = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    itk, torch, blosc2 = (sys.modules.get(name) for name in ("SimpleITK", "torch", "blosc2"))
    with threadpool_limits(threads):
        if itk:
            itk_threads = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
            itk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        if torch:
            torch_threads = torch.get_num_threads()
            torch.set_num_threads(threads)
        if blosc2:
            blosc2_threads = blosc2.set_nthreads(threads)
        try:
            yield
        finally:
            if itk:
                itk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk_threads)
            if torch:
                torch.set_num_threads(torch_threads)
            if blosc2:
                blosc2.set_nthreads(blosc2_threads)
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
