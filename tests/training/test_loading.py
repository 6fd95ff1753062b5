"""Batches as a function of (seed, step), whoever loads them, and whichever process asks."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.training.loading import Share, batches, subjects_of_batch, subjects_of_step

SEEDS = st.integers(0, 2**32 - 1)


def first(stream, count: int) -> list:
    """The first batches of an endless stream, which is closed then."""
    taken = list(itertools.islice(stream, count))
    stream.close()
    return taken


@given(cases=st.integers(2, 40), size=st.integers(1, 5), seed=SEEDS, step=st.integers(0, 10**6))
def test_a_steps_subjects_follow_from_seed_and_step(cases, size, seed, step):
    chosen = subjects_of_step(cases, size, seed, step)
    assert chosen == subjects_of_step(cases, size, seed, step)
    assert len(chosen) == size and set(chosen) <= set(range(cases))
    if size <= cases:
        assert len(set(chosen)) == size, "a batch holds different subjects"


@given(per_epoch=st.integers(1, 12), size=st.integers(1, 5), seed=SEEDS, epoch=st.integers(0, 99))
def test_every_case_is_seen_once_in_each_epoch(per_epoch, size, seed, epoch):
    cases = per_epoch * size
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    seen = Counter(index for step in steps for index in subjects_of_step(cases, size, seed, step))
    assert seen == dict.fromkeys(range(cases), 1)


@given(cases=st.integers(2, 30), seed=SEEDS)
def test_cases_that_fill_no_batch_wait_for_another_epoch(cases, seed):
    seen = [i for step in range(cases // 2) for i in subjects_of_step(cases, 2, seed, step)]
    assert len(seen) == len(set(seen)) == cases // 2 * 2


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed: int, epoch: int) -> list[int]:
        steps = range(epoch * 15, epoch * 15 + 15)
        return [index for step in steps for index in subjects_of_step(30, 2, seed, step)]

    orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert all(sorted(o) == list(range(30)) for o in orders)
    assert len({tuple(o) for o in orders}) == 4


def test_a_lone_case_still_fills_a_batch():
    assert subjects_of_step(1, 2, seed=0, step=3) == [0, 0]


def test_batches_hold_the_cases_of_their_step(make_cohort, make_plans):
    cohort = make_cohort(make_plans())
    for step, batch in enumerate(first(batches(cohort, 3, 0, "cpu"), 4)):
        for position, index in enumerate(subjects_of_step(6, 2, 3, step)):
            images, mask = cohort.volumes(index)
            np.testing.assert_array_equal(batch.images[position], images)
            np.testing.assert_array_equal(batch.brain_mask[position], mask)


# A device that is not the CPU is fed by background processes; which one does not matter here.
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("device", "start"), [("cpu", 3), ("mps", 0), ("mps", 3)])
def test_batches_from_a_step_on_are_the_tail_of_all(make_cohort, make_plans, device, start):
    cohort = make_cohort(make_plans())
    cohort.fill_cache()
    whole = first(batches(cohort, 0, 0, "cpu"), 8)[start:]
    tail = first(batches(cohort, 0, start, device), 8 - start)
    assert len(whole) == len(tail) == 8 - start
    for one, other in zip(whole, tail, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.brain_mask, other.brain_mask)


def test_closing_a_stream_ends_its_background_work(make_cohort, make_plans):
    cohort = make_cohort(make_plans())
    cohort.fill_cache()
    before = threading.active_count()
    for _ in range(3):  # closed while further batches are on their way
        first(batches(cohort, 0, 0, "mps"), 1)
    assert threading.active_count() == before


@pytest.mark.parametrize("accumulation", [1, 3])
def test_processes_share_what_one_would_see(make_cohort, make_plans, accumulation):
    """Two processes of two subjects see, together and in order, what one of four sees."""
    two = make_cohort(make_plans(training__accumulation=accumulation))
    four = make_cohort(
        make_plans(training__accumulation=accumulation, configuration__batch_subjects=4)
    )
    for step in range(5):
        for number in range(accumulation):
            shares = [subjects_of_batch(two, 7, step, number, Share(rank, 2)) for rank in (0, 1)]
            place, whole = subjects_of_batch(four, 7, step, number, Share())
            assert [case for _, cases in shares for case in cases] == whole
            assert [first for first, _ in shares] == [place, place + 2]


def test_a_stream_holds_as_many_batches_a_step_as_are_accumulated(make_cohort, make_plans):
    cohort = make_cohort(make_plans(training__accumulation=2))
    whole = first(batches(cohort, 3, 0, "cpu"), 6)
    tail = first(batches(cohort, 3, 2, "cpu"), 2)
    for one, other in zip(whole[4:], tail, strict=True):
        assert torch.equal(one.images, other.images)
