"""What can be evaluated, and what to do about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dal_auto.errors import InputError, UsageError
from dal_auto.evaluation.datasets import absent_datasets, annotated_datasets, current_cases
from dal_auto.evaluation.paper.reference import DATASETS


def preprocessed(home: Path, name: str, **masks: bool) -> None:
    """Cases by their ids, with a lesion mask or without."""
    folder = home / "preprocessed" / name
    (folder / "cases").mkdir(parents=True)
    (folder / "preprocessing.json").write_text("{}")
    for case_id, has_mask in masks.items():
        content = {
            "dataset": name,
            "case_id": case_id,
            "patient_id": case_id,
            "sequences": ["T1"],
            "has_lesion_mask": has_mask,
            "percentiles": {},
            "quality": {},
            "geometry": {"native": {}, "atlas_to_native": {}},
            "scale": {},
            "steps": [],
            "hash": "0",
            "array_sha256": "0",
        }
        (folder / "cases" / f"{case_id}.json").write_text(json.dumps(content))


def test_all_datasets_with_lesion_masks_are_evaluated(home):
    preprocessed(home, "MSLUB", a=True, b=False)
    preprocessed(home, "IXI", c=False)
    found, _ = annotated_datasets(None)
    assert {name: [r.case_id for r in records] for name, records in found.items()} == {
        "MSLUB": ["a"]
    }
    assert list(annotated_datasets(["mslub"])[0]) == ["MSLUB"], "in any case of letters"
    with pytest.raises(UsageError, match="no preprocessed case of ATLAS"):
        annotated_datasets(["ATLAS"])


def test_a_dataset_that_cannot_be_read_stops_no_other(home):
    preprocessed(home, "MSLUB", a=True)
    preprocessed(home, "Stopped")
    preprocessed(home, "Torn", t=True)
    torn = home / "preprocessed" / "Torn" / "cases" / "t.json"
    torn.write_text(torn.read_text()[:40])
    found, (stopped, torn_words) = annotated_datasets(None)
    assert list(found) == ["MSLUB"]
    assert stopped.startswith("Stopped: no preprocessed case of Stopped")
    assert "Did you mean" not in stopped and "t.json" in torn_words
    with pytest.raises(InputError):
        annotated_datasets(["MSLUB", "Torn"])
    assert set(current_cases(["MSLUB", "Torn"])) == {"MSLUB"}


def test_nothing_to_evaluate_is_an_error(home):
    with pytest.raises(UsageError, match="no preprocessed dataset with lesion masks"):
        annotated_datasets(None)


def test_absent_test_sets_are_listed_with_what_to_do(home):
    preprocessed(home, "MSLUB", a=True)
    (home / "raw" / "ATLAS").mkdir(parents=True)
    absent = {one.dataset: one for one in absent_datasets()}
    assert list(absent) == [name for name in DATASETS if name != "MSLUB"]
    assert "IXI" not in absent, "a training set"
    assert absent["ATLAS"].remedy == (
        "it is on disk, but not preprocessed: run `dal_plan_and_preprocess -d ATLAS`"
    )
    remedy = absent["BraTS-MEN"].remedy
    for words in (absent["BraTS-MEN"].url, absent["BraTS-MEN"].licence, "after registration"):
        assert words in remedy
    assert "at DAL_RAW/BraTS-MEN," in remedy
    told = " ".join(one.remedy for one in absent.values())
    assert str(home) not in told, "the report's bytes do not depend on where the data lies"
    assert "`dal_plan_and_preprocess -d BraTS-MEN`" in remedy
