"""Caps on threads hold for libraries loaded before and after, and are given back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, get_ident

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dal_auto.workers.threads import available_cores, begun, capped_threads, side_by_side

TASKS = Path("/proc/self/task")
NOISE = np.random.default_rng(0).integers(0, 8, (1200, 1200)).astype(np.float32)
IMAGE = sitk.GetImageFromArray(np.ones((96, 96, 96), np.float32))
CHANNELS, KERNEL = torch.ones(1, 8, 48, 48, 48), torch.ones(8, 8, 3, 3, 3)


def multiply_in_numpy() -> None:
    NOISE @ NOISE @ NOISE


def convolve_in_torch() -> None:
    torch.nn.functional.conv3d(CHANNELS, KERNEL)


def smooth_in_itk() -> None:
    sitk.CurvatureFlow(IMAGE, 0.05, 6)


def pack_in_blosc2() -> None:
    blosc2.asarray(NOISE, cparams=blosc2.CParams(clevel=9), chunks=NOISE.shape)


def at_work(work: Callable[[], None]) -> int:
    """How many threads of this process took part in `work`: those that gained time on a core."""

    def nanoseconds() -> dict[str, int]:
        return {p.parent.name: int(p.read_text().split()[0]) for p in TASKS.glob("*/schedstat")}

    time.sleep(0.2)  # threads of what went before look for more work before they sleep
    before = nanoseconds()
    work()
    gained = {name: now - before.get(name, 0) for name, now in nanoseconds().items()}
    most = max(gained.values())
    return sum(gain > most / 20 for gain in gained.values())


@pytest.mark.skipif(not (TASKS / str(os.getpid()) / "schedstat").exists(), reason="no schedstat")
@pytest.mark.skipif(available_cores() < 2, reason="one core: libraries start no second thread")
@pytest.mark.parametrize(
    "work", [multiply_in_numpy, convolve_in_torch, smooth_in_itk, pack_in_blosc2]
)
def test_no_more_threads_work_than_the_cap_allows(work):
    work()  # loaded, its threads started, before the cap
    for threads in (2, 1, 2):
        with capped_threads(threads):
            assert at_work(work) <= threads
    if work in (multiply_in_numpy, convolve_in_torch):
        with capped_threads(2):
            assert at_work(work) == 2, "the cap leaves what it allows"


def test_caps_are_given_back():
    def caps() -> tuple:
        threads = blosc2.set_nthreads(1)
        blosc2.set_nthreads(threads)
        itk = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        return torch.get_num_threads(), itk, threads, os.environ.get("OMP_NUM_THREADS")

    before = caps()
    with capped_threads(3):
        assert caps() == (3, 3, 3, "3")
    assert caps() == before


def test_caps_are_given_back_after_an_error(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with pytest.raises(KeyError), capped_threads(before + 1):
        assert os.environ["OMP_NUM_THREADS"] == str(before + 1)
        raise KeyError
    assert torch.get_num_threads() == before
    assert "OMP_NUM_THREADS" not in os.environ


def test_at_least_one_core_is_available():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_side_by_side_items_meet_and_come_back_in_order():
    meeting = Barrier(2, timeout=10)

    def meet(item: int) -> tuple[int, int]:
        meeting.wait()
        return item, get_ident()

    found = side_by_side(meet, [3, 1], 2)
    assert [item for item, _ in found] == [3, 1]
    assert len({thread for _, thread in found}) == 2


@pytest.mark.parametrize(("items", "at_once"), [([5, 6], 1), ([5], 4), ([], 4), ([5, 6], 0)])
def test_without_company_all_is_done_in_this_thread(items, at_once):
    assert side_by_side(lambda _: get_ident(), items, at_once) == [get_ident()] * len(items)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_first_error_of_several_is_raised(at_once):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0, 2], at_once)


def test_work_begun_aside_goes_on_beside_this_and_gives_its_result_or_error():
    meeting = Barrier(2, timeout=10)

    def fail() -> None:
        meeting.wait()
        raise KeyError("lost")

    result = begun(fail, aside=True)
    meeting.wait()
    with pytest.raises(KeyError, match="lost"):
        result()
    assert begun(get_ident, aside=False)() == get_ident()
