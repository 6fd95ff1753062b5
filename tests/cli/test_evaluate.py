"""The scores that ``dal_evaluate`` ends with."""

from __future__ import annotations

import pandas as pd

from dal_auto.cli.commands.evaluate import scores


def test_a_line_for_each_run_under_headings_that_stand_above_their_values():
    row = {"dataset": "BraTS-GLI", "sequence": "T2", "method": "DAL", "seed": 0, "AP": 12.34,
           "DSC": 25.0, "DSC practical": float("nan"), "cases": 2, "run": "x"}  # fmt: skip
    empty, header, first, second, _ = scores(pd.DataFrame([row, row | {"AP": 1.0, "seed": 1}]))
    assert (empty, first.split()) == (
        "",
        ["BraTS-GLI", "T2", "DAL", "0", "12.3", "25.0", "nan", "2"],
    )
    assert second.split()[3:5] == ["1", "1.0"]
    assert header.index("DSC") == first.index(" 25.0")


def test_without_results_nothing_is_said():
    assert scores(pd.DataFrame()) == []
