"""Splits by patient, a cache that knows what it holds, and cases that lack a sequence."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.errors import InputError
from dal_auto.inference.predictor import predict
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.store.standard_cases import CaseRecord, read_case, read_records
from dal_auto.training import run as run_module
from dal_auto.training.cohort import cohort_of, split_by_patient


@given(patients=st.lists(st.integers(0, 12), min_size=1, max_size=30), fraction=st.floats(0, 0.99))
def test_a_split_keeps_patients_together_and_leaves_someone_to_train_on(patients, fraction):
    records = [
        CaseRecord.model_construct(case_id=str(index), patient_id=f"p{patient}")
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


@pytest.mark.parametrize(
    "change",
    [{"training__steps": 7}, {"scoring__score": "l1"}, {"configuration__batch_subjects": 4}],
)
def test_what_does_not_change_the_volumes_shares_the_cache(make_cohort, make_plans, change):
    assert make_cohort(make_plans()).cache == make_cohort(make_plans(**change)).cache


def test_a_case_that_was_made_anew_is_not_taken_from_the_cache(make_cohort, make_plans):
    cohort = make_cohort(make_plans(configuration__name="stale-test"), [0])
    cohort.fill_cache()
    anew = cohort.records[0].model_copy(update={"array_sha256": "f" * 64})
    with pytest.raises(InputError, match="not those its record describes"):
        dataclasses.replace(cohort, records=(anew,)).volumes(0)


def test_a_case_that_lacks_a_sequence_has_zeros_and_says_so(make_plans, incomplete_folder):
    cohort = cohort_of(incomplete_folder, read_records(incomplete_folder / "cases"), make_plans())
    batch = cohort.batch([1, 0, 4])
    assert batch.present.tolist() == [[True, False], [True, True], [False, True]]
    assert not batch.images[0, 1].any() and not batch.images[2, 0].any()
    assert batch.images[~batch.present].eq(0).all()
    assert all(image.any() for image in batch.images[batch.present])


@pytest.mark.parametrize(
    "change", [{"sequences": ("T2", "T1")}, {"percentiles": {"T1": (1.0,), "T2": (2.0,)}}]
)
def test_equal_voxels_of_which_something_else_is_said_are_another_entry(
    make_cohort, make_plans, change
):
    cohort = make_cohort(make_plans(), [0])
    record = cohort.records[0]
    other = dataclasses.replace(cohort, records=(record.model_copy(update=change),))
    assert cohort._path(0) != other._path(0)


def test_many_cases_are_brought_to_the_grid_by_workers(make_cohort, make_plans, monkeypatch):
    monkeypatch.setattr("dal_auto.training.cohort._WORTH_WORKERS", 2)
    monkeypatch.setattr("dal_auto.training.cohort.available_cores", lambda: 2)
    cohort = make_cohort(make_plans(configuration__name="by-workers"))
    cohort.fill_cache()
    alone = make_cohort(make_plans(configuration__name="alone"))
    for index in range(len(cohort)):
        assert cohort._path(index).read_bytes() and cohort._path(index).is_file()
        for one, other in zip(cohort.volumes(index), alone.volumes(index), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_folder_that_cannot_be_written_is_named_before_any_case_is_read(
    make_cohort, make_plans, tmp_path
):
    (tmp_path / "cache").touch()
    cohort = dataclasses.replace(make_cohort(make_plans()), cache=tmp_path / "cache" / "demo")
    with pytest.raises(InputError, match=r"cache/demo.* cannot be written.*DAL_PREPROCESSED"):
        cohort.fill_cache()


def test_only_a_case_without_any_sequence_is_left_out(
    make_plans, incomplete_folder, monkeypatch, caplog
):
    records = read_records(incomplete_folder / "cases")
    monkeypatch.setattr(run_module, "case_records", lambda dataset: records)
    plans = make_plans(sequences=["T2"], intensity__landmarks={"T2": [0.1 * i for i in range(11)]})
    with caplog.at_level(logging.INFO):
        assert len(run_module._usable(make_plans())) == 6
    assert "1 of 6 cases have no T1" in caplog.text and "1 of 6 cases have no T2" in caplog.text
    caplog.clear()
    assert [r.case_id for r in run_module._usable(plans)] == [
        "case0",
        "case2",
        "case3",
        "case4",
        "case5",
    ]
    assert "case1 is left out: no T2" in caplog.text
