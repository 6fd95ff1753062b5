"""Numbers as they are read: shared decimals, intervals, what is missing, what is best."""

from __future__ import annotations

import pandas as pd
import pytest

from dal_auto.evaluation.report.table import MISSING, Cell, marked, mean_cell, number, table_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (0.1234, "0.123"),
        (1.2345, "1.23"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (0.00012, "1.2e-04"),
        (-0.5, "-0.500"),
        (7, "7"),
        (NAN, MISSING),
        (float("inf"), MISSING),
        (None, MISSING),
        (pd.NA, MISSING),
        ("<b>", "<b>"),
    ],
)
def test_a_value_that_stands_alone(value, text):
    assert number(value) == text


def test_a_mean_has_a_deviation_where_there_are_several():
    assert mean_cell([40.0, 44.0]) == Cell("42.0 ± 2.8", "42.0")
    assert mean_cell([40.0, NAN]) == Cell("40.0", "40.0")
    assert mean_cell([NAN]) == mean_cell([]) == Cell(MISSING)


def test_the_best_is_marked_with_all_that_look_like_it():
    cells = [Cell("54.9 ± 0.1", "54.94"), Cell("54.9", "54.91"), Cell("9.0", "9.0"), Cell(MISSING)]
    assert [cell.best for cell in marked(cells)] == [True, True, False, False]
    assert not any(cell.best for cell in marked([cells[0], cells[3]])), "there is no rival"
    assert marked([]) == []


def test_a_table_holds_its_columns_links_and_order():
    frame = pd.DataFrame(
        {
            "dataset": ["A", "A", "B"],
            "case": ["a", "b", "c"],
            "AP": [10.0, 20.0, NAN],
            "AP low": [9.0, NAN, NAN],
            "AP high": [11.0, 21.0, NAN],
            "FP": [1, 2, 3],
        }
    )
    table = table_of(
        frame, ["dataset"], hidden=["FP"], urls={"case": ["u", "", "w"]}, row_heading="case",
        rising="AP",
    )  # fmt: skip
    assert table.columns == [("dataset", False), ("case", False), ("AP", True)]
    assert (table.row_heading, table.rising) == (1, 2)
    assert [row[1].url for row in table.rows] == ["u", "", "w"]
    assert [row[2].text for row in table.rows] == ["10.0", "20.0", MISSING]
    assert [row[2].detail for row in table.rows] == ["9.0 to 11.0", "", ""], "decimals as of AP"
    assert [row[2].best for row in table.rows] == [False, True, False]
    plain = table_of(frame, row_heading="not there", rising="neither")
    assert plain.row_heading == 0 and plain.rising is None
    assert not any(cell.best for row in plain.rows for cell in row)
    assert table_of(pd.DataFrame()).rows == []
