"""A result is kept under a hash of all that it follows from, and comes back as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dal_auto.errors import DiskFull
from dal_auto.evaluation import result as module
from dal_auto.evaluation.result import CaseMetrics, Metrics, keep_result, kept_result, key_of
from dal_auto.scoring import bootstrap
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.store.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "IXI" / "DAL__demo__robust" / "seed_0")


def test_columns_have_the_names_of_tables_in_the_order_of_the_fields(make):
    columns = make.result(41.5, dsc_low=3.0, healthy_cases=7, error_ratio=12.0).metrics.columns()
    assert list(columns)[:3] == ["AP", "AP low", "AP high"]
    assert list(columns)[-2:] == ["threshold", "practical threshold"]
    assert len(columns) == len(Metrics.model_fields)
    assert (columns["AP"], columns["DSC low"], columns["healthy cases"]) == (41.5, 3.0, 7)
    assert columns["RE ratio"] == 12
    unknown = dict.fromkeys(CaseMetrics.model_fields, 1.0) | {"lesions": 2}
    of_case = CaseMetrics(**(unknown | {"false_positives": 4.0})).columns()
    assert of_case["FP"] == 4 and of_case["lesion ml"] == 1 and of_case["lesions"] == 2


def test_a_method_is_read_with_its_variant_where_it_has_several(make):
    one = make.result(method="raw-intensity", variant="bright")
    assert one.method == "raw-intensity (bright)"
    assert one.method_in("dark") == "raw-intensity (dark)"
    assert one.method_in("") == make.result(method="raw-intensity").method == "raw-intensity"


def test_the_cases_are_those_of_the_best_variant_in_their_order(make):
    bright = make.result(variant="bright", cases={"b": 1.0, "a": 2.0})
    dark = make.result(variant="dark", cases={"c": 1.0})
    both = bright.model_copy(update={"cases": [*dark.cases, *bright.cases]})
    assert both.case_ids == ["b", "a"]


def test_a_kept_result_comes_back_with_what_is_not_known(make, run):
    result = make.result(
        41.99,
        lesions=[LesionScore(1.5, 0.25, 0.0)],
        subsets={"all cases": (2, 41.99, 30.0)},
        resampled=[40.0, math.nan],
        threshold=math.inf,
    )
    keep_result(run, result, "key")
    found = kept_result(run, "MSLUB", "T1", "key")
    assert found is not None
    assert found.model_dump_json() == result.model_dump_json()
    assert math.isnan(found.metrics.dsc) and found.metrics.threshold == math.inf
    assert found.lesions == result.lesions and found.run == result.run
    np.testing.assert_array_equal(found.resampled, [40, np.nan])
    np.testing.assert_array_equal(found.precision, result.precision)


def test_it_counts_for_its_dataset_sequence_and_key_only(make, run):
    keep_result(run, make.result(), "key")
    assert kept_result(run, "MSLUB", "T1", "key") is not None
    assert kept_result(run, "MSLUB", "T1", "another key") is None
    assert kept_result(run, "MSLUB", "T2", "key") is None
    assert kept_result(run, "ATLAS", "T1", "key") is None


def test_what_is_damaged_or_of_another_version_is_made_again(make, run):
    keep_result(run, make.result(), "key")
    (path,) = run.folder.rglob("T1.json")
    whole = path.read_text()
    content = json.loads(whole)
    del content["result"]["metrics"]["auroc"]
    for text in (
        whole[:100],
        "",
        "[]",
        json.dumps(content),
        json.dumps(json.loads(whole) | {"x": 1}),
    ):
        path.write_text(text)
        assert kept_result(run, "MSLUB", "T1", "key") is None


@pytest.mark.parametrize("error", [PermissionError(13, "no"), DiskFull("T1.json", "/")])
def test_where_nothing_can_be_written_it_is_only_not_kept(make, run, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(module._KeptResult, "write", refuse)
    keep_result(run, make.result(), "key")
    assert kept_result(run, "MSLUB", "T1", "key") is None


def test_the_key_is_of_all_that_a_result_follows_from(make, run, monkeypatch):
    one, other = (make.scored_image(run, case, [0.5, 0.25], [1, 0]) for case in "ab")
    healthy = make.scored_image(run, "h", [0.5, 0.25], [0, 0])
    again = make.scored_image(run, "a", [0.5, 0.25], [1, 0])
    changed = make.scored_image(run, "a", [0.5, 0.75], [0, 1])
    key = key_of([one, other], [healthy], {"shared": None})
    assert key == key_of([again, other], [healthy], {"shared": None})
    different = {
        key_of([one], [healthy], {"shared": None}),
        key_of([one, other], [], {"shared": None}),
        key_of([changed, other], [healthy], {"shared": None}),
        key_of([one, other], [healthy], {"shared": []}),
        key,
    }
    assert len(different) == 5
    monkeypatch.setattr(bootstrap, "RESAMPLES", bootstrap.RESAMPLES + 1)
    assert key_of([one, other], [healthy], {"shared": None}) not in different
