"""Which runs a table of the paper has, how they are called, and how a row is put together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dal_auto.evaluation.averages import WEIGHTED
from dal_auto.evaluation.paper.rows import (
    Rows,
    ap_dsc,
    average_rows,
    comparable,
    labels,
    main_runs,
    of_runs,
    plans_by_group,
    seed_rows,
    sequences_of,
    spreads_of,
)
from dal_auto.store.run_identity import RunGroup

ONE = RunGroup("IXI", "DAL", "demo", "robust")


def test_a_row_has_its_columns_in_the_order_of_its_parts():
    rows = Rows()
    rows.add({"method": "DAL"}, {"source": "ours"}, {"AP": 1.0}, spreads={"AP": 0.5})
    rows.add({"method": "AE"}, {"AP": None})
    assert list(rows.values[0]) == ["method", "source", "AP"]
    assert rows.spreads == [{"AP": 0.5}, {}]
    ordered = rows.in_order(["AP", "method", "cells"])
    assert ordered[0] == {"AP": 1.0, "method": "DAL", "cells": None}
    assert [list(row) for row in ordered] == [["AP", "method", "cells"]] * 2


def test_seeds_of_a_run_are_one(by_hand, dal):
    _, infos = by_hand.scored([dal()], [10.0], seeds=3)
    (group,) = plans_by_group(infos)
    assert {run.identity.group for run in infos} == {group} and len(infos) == 3


def test_main_runs_are_those_that_ablate_nothing_sorted_by_name(by_hand, dal, make):
    plans = [make.plans_of("raw-intensity"), dal(scoring__score="l1"), dal()]
    _, infos = by_hand.scored(plans, [1.0, 2.0, 3.0])
    assert list(main_runs(infos).values()) == ["DAL", "raw-intensity"]
    assert main_runs({}) == {}


def test_labels_are_as_short_as_tells_runs_apart(dal, make):
    other, elsewhere = replace(ONE, variant="b"), replace(ONE, training_set="HCP")
    both = {ONE: dal(), other: make.plans_of("mean-brain")}
    assert list(labels(both).values()) == ["DAL", "mean-brain"]
    changed = {ONE: dal(), other: dal(scoring__score="l1")}
    assert list(labels(changed).values()) == ["DAL", "DAL (score=l1)"]
    assert "trained on HCP" in labels({ONE: dal(), elsewhere: dal()})[elsewhere]


def test_runs_that_plans_do_not_tell_apart_are_told_by_their_folders(dal):
    other = replace(ONE, variant="0123abcd")
    found = labels({ONE: dal(), other: dal()})
    assert found[ONE].endswith("; DAL__demo__robust)")
    assert found[other].endswith("; DAL__demo__robust__0123abcd)")


def test_only_rows_of_some_runs_are_taken(by_hand, dal):
    results, infos = by_hand.scored([dal(), dal()], [10.0, 20.0], seeds=2)
    first, second = plans_by_group(infos)
    assert set(of_runs(results, [second])["AP"]) == {20, 22, 30, 32, 40, 42, 50, 52}
    assert of_runs(results, [first, second]).equals(results)
    assert of_runs(results, []).empty and of_runs(pd.DataFrame(), [first]).empty


def test_the_papers_datasets_compare_and_others_only_where_there_is_none_of_those():
    table = pd.DataFrame({"dataset": ["Mine", "MSLUB", "Simulated"], "AP": [1.0, 2.0, 3.0]})
    assert comparable(table)["dataset"].tolist() == ["MSLUB"]
    others = table[table["dataset"] != "MSLUB"]
    assert comparable(others)["dataset"].tolist() == ["Mine", "Simulated"]
    assert comparable(pd.DataFrame()).empty


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ([], ["T1", "T2", "all"]),
        (["T2", "FLAIR", "PD"], ["T1", "T2", "FLAIR", "PD", "all"]),
    ],
)
def test_sequences_begin_with_the_papers_and_end_with_all(there, found):
    assert sequences_of(pd.DataFrame({"sequence": there})) == found
    assert sequences_of(pd.DataFrame()) == ["T1", "T2", "all"]


def test_means_over_seeds_and_datasets_of_one_kind(by_hand, dal):
    results, _ = by_hand.scored([dal()], [10.0], seeds=2, cases=(10, 30))
    cells = {(row["dataset"], row["sequence"]): row for row in seed_rows(results)}
    assert len(cells) == 4 and cells["MSLUB", "T2"]["AP"] == 31
    plain = {row["sequence"]: row["AP"] for row in average_rows(results)}
    assert plain == {"T1": 16, "T2": 26, "all": 21}
    weighted = {row["sequence"]: row["AP"] for row in average_rows(results, WEIGHTED)}
    assert weighted == {"T1": 18.5, "T2": 28.5, "all": 23.5}
    (errors, *_) = average_rows(results, WEIGHTED, ("RE_N",))
    assert errors["RE_N"] == 1 and "AP" not in errors
    assert seed_rows(pd.DataFrame()) == average_rows(pd.DataFrame()) == []


def test_two_columns_of_a_pair_or_of_a_row_and_their_deviations():
    assert ap_dsc("T1", (41.99, 36.18)) == {"T1 AP": 41.99, "T1 DSC": 36.18}
    row = {"AP": np.float64(1), "DSC": 2, "AP std": 0.5, "DSC std": float("nan")}
    assert ap_dsc("MSLUB", row) == {"MSLUB AP": 1.0, "MSLUB DSC": 2.0}
    assert all(type(value) is float for value in ap_dsc("MSLUB", row).values())
    found = spreads_of("mean", row)
    assert found["mean AP"] == 0.5 and np.isnan(found["mean DSC"])
    assert spreads_of("T1", {"RE_N std": 3}, ["RE_N"]) == {"T1 RE_N": 3.0}
