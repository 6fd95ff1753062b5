"""Means over seeds and over datasets, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dal_auto.evaluation.averages import PLAIN, WEIGHTED, averages_table, seeds_table
from dal_auto.store.run_identity import RunGroup, RunIdentity

GROUP = RunGroup("IXI", "DAL", "a", "b")


def results(rows: list[tuple[str, str, int, int, float]]) -> pd.DataFrame:
    """(dataset, sequence, seed, cases, AP) of one run."""
    table = pd.DataFrame(rows, columns=["dataset", "sequence", "seed", "cases", "AP"])
    return table.assign(method="DAL", run=[RunIdentity(GROUP, s) for s in table["seed"]])


ROWS = [
    ("A", "T1", 0, 10, 20.0),
    ("A", "T1", 1, 10, 30.0),
    ("A", "T2", 0, 10, 50.0),
    ("A", "T2", 1, 10, 50.0),
    ("B", "T1", 0, 30, 60.0),
    ("B", "T1", 1, 30, 62.0),
]


def test_seeds_have_mean_and_sample_deviation():
    table = seeds_table(results(ROWS), ["AP"]).set_index(["dataset", "sequence"])
    assert table.loc[("A", "T1"), "AP"] == 25
    assert table.loc[("A", "T1"), "AP std"] == pytest.approx(50**0.5)
    assert table.loc[("A", "T2"), "AP std"] == 0
    assert table["seeds"].tolist() == [2, 2, 2]


def test_one_seed_has_no_deviation():
    table = seeds_table(results(ROWS[:1]), ["AP"])
    assert table["AP"][0] == 20 and np.isnan(table["AP std"][0])


@pytest.mark.parametrize(
    ("sequence", "kind", "cells", "images", "mean", "per_seed"),
    [
        ("T1", PLAIN, 2, 40, (25 + 61) / 2, [40, 46]),
        ("T1", WEIGHTED, 2, 40, (10 * 25 + 30 * 61) / 40, [50, 54]),
        ("T2", PLAIN, 1, 10, 50, [50, 50]),
        ("all", PLAIN, 3, 50, (25 + 61 + 50) / 3, [130 / 3, 142 / 3]),
        ("all", WEIGHTED, 3, 50, (250 + 1830 + 500) / 50, [50, 53.2]),
    ],
)
def test_averages_over_datasets_say_which_they_are(sequence, kind, cells, images, mean, per_seed):
    table = averages_table(results(ROWS), ["AP"])
    (row,) = table[(table["sequence"] == sequence) & (table["average"] == kind)].to_dict("records")
    assert (row["cells"], row["images"], row["seeds"]) == (cells, images, 2)
    assert row["AP"] == pytest.approx(mean)
    assert row["AP std"] == pytest.approx(np.std(per_seed, ddof=1))


def test_a_seed_that_lacks_a_cell_is_not_in_the_deviation():
    table = averages_table(results(ROWS[:-1]), ["AP"])
    (row,) = table[(table["sequence"] == "T1") & (table["average"] == PLAIN)].to_dict("records")
    assert row["AP"] == pytest.approx((25 + 60) / 2) and np.isnan(row["AP std"])


def test_an_average_without_one_of_its_cells_is_none():
    missing = results([*ROWS[:4], ("B", "T1", 0, 30, float("nan"))])
    table = averages_table(missing, ["AP"])
    (row,) = table[(table["sequence"] == "T1") & (table["average"] == PLAIN)].to_dict("records")
    assert np.isnan(row["AP"])


def test_runs_are_apart_and_a_method_with_changing_variants_has_its_plain_name():
    other = results(ROWS)
    other["run"] = [RunIdentity(replace(GROUP, training_set="HCP"), 0)] * len(other)
    table = pd.concat([results(ROWS), other])
    assert seeds_table(table, ["AP"])["training set"].nunique() == 2
    changing = results(ROWS[:2]).assign(method=["DAL (bright)", "DAL (dark)"])
    assert seeds_table(changing, ["AP"])["method"].tolist() == ["DAL"]


def test_nothing_gives_nothing():
    assert seeds_table(pd.DataFrame()).empty and averages_table(pd.DataFrame()).empty
