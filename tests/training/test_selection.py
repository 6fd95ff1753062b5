"""What chooses among checkpoints: named annotated cases, or lesions pasted into healthy ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from dal_auto.datasets.overlap import Overlap
from dal_auto.errors import UsageError
from dal_auto.methods.method import Detection, Method
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing import same_chain
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.standard_cases import CaseRecord, read_records, write_case
from dal_auto.training import selection as module
from dal_auto.training.selection import (
    Selection,
    choose_selection,
    random_subjects,
    selection_precision,
)


class Oracle(RawIntensity):
    """Finds what it was told, per sequence."""

    def __init__(self, plans, answers: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        super().__init__(plans)
        self.answers = answers

    def detect(self, image, brain_mask, sequence, tile) -> Detection:
        return Detection({"": self.answers(sequence, image) * brain_mask})


@pytest.fixture
def plans(make_plans):
    return make_plans("raw-intensity", scoring__min_filter_mm=0.0, scoring__erosion_mm=0.0)


@pytest.fixture(scope="module")
def annotated_folder(tmp_path_factory, make_phantom) -> Path:
    """Four cases with a lesion of 6³ voxels; the last of them has no T2."""
    folder = tmp_path_factory.mktemp("Annotated")
    for index in range(4):
        case = make_phantom(f"a{index}", f"p{index}", 20 + index, ["T1", "T2"][: 1 + (index < 3)])
        lesion = np.zeros_like(case.brain_mask)
        lesion[10:16, 12:18, 10 + index : 16 + index] = True
        case = dataclasses.replace(case, dataset="Annotated", lesion_mask=lesion)
        write_case(folder / "cases", case, f"hash{index}")
    return folder


@pytest.fixture
def annotated(annotated_folder, monkeypatch) -> Path:
    """That the commands would find these as the dataset "Annotated"."""
    monkeypatch.setattr(module, "folder_of", lambda dataset: annotated_folder)
    monkeypatch.setattr(
        module, "case_records", lambda dataset: read_records(annotated_folder / "cases")
    )
    decisions = DatasetDecisions(
        dataset="Annotated", preprocessing=PreprocessingPlan(target_shape=(32, 32, 32)), steps={}
    )
    (annotated_folder / "preprocessing.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(same_chain, "folder_of", lambda dataset: annotated_folder)
    monkeypatch.setattr(same_chain, "load_decisions", lambda dataset: decisions)
    return annotated_folder


def selecting(plans, **training):
    return plans.override({f"training.{key}": value for key, value in training.items()}, "test")


def test_a_named_dataset_chooses_and_its_cases_are_known(annotated, plans, make_cohort):
    chosen = choose_selection(selecting(plans, select_on="Annotated"), make_cohort(plans, []))
    assert chosen is not None and chosen.annotated
    assert chosen.case_ids == ["a0", "a1", "a2", "a3"]
    assert str(chosen) == "4 annotated cases of Annotated"
    looks = list(chosen.images())
    assert [sorted(images) for images, _, _ in looks] == [["T1", "T2"]] * 3 + [["T1"]]
    for index, (_, brain, lesion) in enumerate(looks):
        expected = np.zeros((16, 16, 16), bool)
        expected[5:8, 6:9, (10 + index) // 2 : (16 + index + 1) // 2] = True
        assert lesion[~expected].sum() == 0 and lesion.sum() >= 3 * 3 * 3
        assert brain.dtype == bool


def test_of_many_patients_some_are_drawn_the_same_ones_every_time():
    records = [
        CaseRecord.model_construct(case_id=f"c{i}", patient_id=f"p{i // 2}") for i in range(40)
    ]
    chosen = random_subjects(records, 5)
    assert [r.case_id for r in chosen] == [r.case_id for r in random_subjects(records[::-1], 5)][
        ::-1
    ]
    assert len(chosen) == 10 and len({r.patient_id for r in chosen}) == 5
    assert random_subjects(records, 99) == records


def test_scans_of_another_test_set_are_left_out_if_asked(
    annotated, plans, make_cohort, monkeypatch
):
    monkeypatch.setattr(module, "find_overlap", lambda raw: Overlap())
    monkeypatch.setattr(module, "shared_cases", lambda overlap, dataset: frozenset({"a1"}))
    apart = selecting(plans, select_on="Annotated", select_without_overlap=True)
    chosen = choose_selection(apart, make_cohort(plans, []))
    assert chosen is not None and chosen.case_ids == ["a0", "a2", "a3"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"atlas_sha256": "another"}, "the model wants another"),
        ({"target_shape": [16, 16, 16]}, "the model wants .16, 16, 16."),
    ],
)
def test_a_dataset_in_another_space_is_refused(annotated, plans, make_cohort, change, said):
    other = plans.override({f"preprocessing.{k}": v for k, v in change.items()}, "test")
    with pytest.raises(UsageError, match=said):
        choose_selection(selecting(other, select_on="Annotated"), make_cohort(plans, []))


def test_a_dataset_without_lesions_is_refused(
    annotated, plans, make_cohort, dataset_folder, monkeypatch
):
    healthy = read_records(dataset_folder / "cases")
    monkeypatch.setattr(module, "case_records", lambda dataset: healthy)
    with pytest.raises(UsageError, match=r"no preprocessed case with a lesion mask.*--select-on"):
        choose_selection(selecting(plans, select_on="Annotated"), make_cohort(plans, []))


def test_without_a_name_lesions_are_pasted_into_what_is_held_out(plans, make_cohort):
    chosen = choose_selection(plans, make_cohort(plans, [4, 5]))
    assert chosen is not None and not chosen.annotated and chosen.case_ids == []
    looks = list(chosen.images())
    assert len(looks) == 8, "of few cases, each is taken several times"
    assert all(lesion.any() for _, _, lesion in looks)
    assert len({lesion.tobytes() for _, _, lesion in looks}) == 8
    for (one, _, _), (other, _, _) in zip(looks, chosen.images(), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_without_name_and_held_out_cases_nothing_chooses(plans, make_cohort):
    assert choose_selection(plans, make_cohort(plans, [])) is None


def test_the_precision_is_that_of_all_voxels_pooled(annotated, plans, make_cohort):
    chosen = choose_selection(selecting(plans, select_on="Annotated"), make_cohort(plans, []))
    assert isinstance(chosen, Selection)
    blurred = plans.override({"scoring.mean_filter_mm": 0.0}, "test")
    method: Method = Oracle(
        blurred, lambda sequence, image: image if sequence == "T1" else 1 - image
    )
    found = selection_precision(method, chosen, "cpu")
    expected = {}
    for sequence in ("T1", "T2"):
        scores, truth = [], []
        for images, brain, lesion in chosen.images():
            if sequence in images:
                score = images[sequence] if sequence == "T1" else 1 - images[sequence]
                scores.append((score * brain).astype(np.float16).astype(float).ravel())
                truth.append(lesion.ravel())
        expected[f"AP_{sequence}"] = average_precision_score(
            np.concatenate(truth), np.concatenate(scores)
        )
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9)
    assert found["AP"] == pytest.approx(np.mean(list(expected.values())))


def test_a_method_with_variants_is_judged_by_its_best(plans, make_cohort):
    chosen = choose_selection(plans, make_cohort(plans, [4, 5]))
    assert chosen is not None
    found = selection_precision(RawIntensity(plans), chosen, "cpu")
    assert set(found) == {"AP", "AP_T1", "AP_T2"} and 0 < found["AP"] < 1
