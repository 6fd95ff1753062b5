"""Batches as a function of (seed, step), splits by patient, a cache that knows what it holds."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.errors import InputError
from dal_auto.inference.predictor import predict
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.standard_files import CaseRecord, read_case, read_records
from dal_auto.training.cohort import batches, split_by_patient, subjects_of_step

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


@given(patients=st.lists(st.integers(0, 12), min_size=1, max_size=30), fraction=st.floats(0, 0.99))
def test_a_split_keeps_patients_together_and_leaves_someone_to_train_on(patients, fraction):
    records = [
        CaseRecord(Path(f"{index}.json"), {"case_id": str(index), "patient_id": f"p{patient}"})
        for index, patient in enumerate(patients)
    ]
    training, validation = split_by_patient(records, fraction)
    assert sorted(training + validation, key=records.index) == records
    ours, theirs = ({r.patient_id for r in part} for part in (training, validation))
    assert not ours & theirs
    assert training
    assert len(theirs) == min(round(fraction * len(set(patients))), len(set(patients)) - 1)


def test_a_split_does_not_depend_on_the_order_of_the_records(dataset_folder):
    records = read_records(dataset_folder / "cases")
    one, other = (split_by_patient(r, 0.4)[1] for r in (records, records[::-1]))
    assert {r.case_id for r in one} == {r.case_id for r in other} != set()


def test_a_case_is_what_prediction_would_show_the_method(make_cohort, make_plans):
    """Training, validation and prediction see a case through the same eyes."""

    class Recorder(RawIntensity):
        def detect(self, image, brain_mask, sequence, tile):
            self.given = image, brain_mask
            return super().detect(image, brain_mask, sequence, tile)

    plans = make_plans("raw-intensity")
    cohort = make_cohort(plans)
    images, mask = cohort.volumes(2)
    assert (images.shape, mask.shape) == ((2, 16, 16, 16), (1, 16, 16, 16))
    assert images.dtype == mask.dtype == np.float32
    method = Recorder(plans)
    for index, sequence in enumerate(plans.sequences):
        predict(method, read_case(cohort.records[2]), sequence, "cpu")
        image, brain_mask = method.given
        np.testing.assert_allclose(images[index], image, atol=1e-3)  # the cache holds float16
        np.testing.assert_array_equal(mask[0], brain_mask)


def test_the_second_look_at_a_case_comes_from_the_cache(make_cohort, make_plans, monkeypatch):
    cohort = make_cohort(make_plans(configuration__name="cache-test"))
    cohort.fill_cache()
    assert len(list(cohort.cache.iterdir())) == len(cohort)

    def fail(record):
        raise AssertionError("the 1 mm volumes were read again")

    before = [cohort.volumes(index)[0] for index in range(len(cohort))]
    monkeypatch.setattr("dal_auto.training.cohort.read_case", fail)
    for index, images in enumerate(before):
        np.testing.assert_array_equal(cohort.volumes(index)[0], images)


@pytest.mark.parametrize(
    "change",
    [
        {"intensity__landmarks": {name: [0.1 * i for i in range(11)] for name in ("T1", "T2")}},
        {"configuration__input_shape": [8, 8, 8]},
        {"configuration__downsampling": "trilinear"},
        {"sequences": ["T2", "T1"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_volumes_changes_the_cache(make_cohort, make_plans, change):
    plain, changed = make_cohort(make_plans()), make_cohort(make_plans(**change))
    assert plain.cache != changed.cache
    images, others = plain.volumes(0)[0], changed.volumes(0)[0]
    assert images.shape != others.shape or not np.array_equal(images, others)


@pytest.mark.parametrize("change", [{"training__steps": 7}, {"scoring__score": "l1"}])
def test_what_does_not_change_the_volumes_shares_the_cache(make_cohort, make_plans, change):
    assert make_cohort(make_plans()).cache == make_cohort(make_plans(**change)).cache


def test_a_case_that_was_made_anew_is_not_taken_from_the_cache(make_cohort, make_plans):
    cohort = make_cohort(make_plans(configuration__name="stale-test"), [0])
    cohort.fill_cache()
    anew = CaseRecord(
        cohort.records[0].path, cohort.records[0].content | {"array_sha256": "f" * 64}
    )
    with pytest.raises(InputError, match="not those its record describes"):
        dataclasses.replace(cohort, records=(anew,)).volumes(0)


def test_batches_hold_the_cases_of_their_step(make_cohort, make_plans):
    cohort = make_cohort(make_plans())
    for step, batch in enumerate(first(batches(cohort, 3, 0, "cpu"), 4)):
        for position, index in enumerate(subjects_of_step(6, 2, 3, step)):
            images, mask = cohort.volumes(index)
            np.testing.assert_array_equal(batch.images[position], images)
            np.testing.assert_array_equal(batch.brain_mask[position], mask)


# A device that is not the CPU is fed by background processes; which one does not matter here.
# When they are stopped, batchgenerators' reading thread may find the sender of a tensor gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
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
