"""Cases that failed: words, table, order."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from dal_auto.errors import CaseFailed, InputError
from dal_auto.store.failures import COLUMNS, Failures, case_error, case_line


def test_an_error_of_ours_stays_and_learns_its_step_once() -> None:
    error = InputError("a.nii.gz", "no image", "Give an image.")
    assert case_error("a", "reading", error) is error and error.step == "reading"
    assert case_error("a", "network", error).step == "reading"


def test_an_unforeseen_error_becomes_the_cases_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dal_auto")
    error = case_error("a", "network", ValueError("a bad value"))
    assert isinstance(error, CaseFailed)
    assert (error.step, error.cause) == ("network", "ValueError: a bad value")
    assert "ValueError" in caplog.text  # the traceback, for who looks for it


def test_a_line_names_its_case_once() -> None:
    failed = CaseFailed("a", "N4", "it failed")
    assert case_line("a", failed).count("case a") == 1
    assert case_line("b", InputError("b.nii", "empty", "Remove it.")).startswith("case b: b.nii")


def test_the_table_is_sorted_by_case_and_whole_when_empty(tmp_path) -> None:
    path = tmp_path / "failures.csv"
    Failures().write(path)
    assert path.read_text() == "case,step,cause\n"
    failed = Failures()
    assert failed.add("b", CaseFailed("b", "N4", "one, two")) == "case b failed at N4: one, two"
    failed.add("a", case_error("a", "reading", InputError("a.nii", "empty", "Remove it.")))
    failed.sort()
    failed.write(path)
    table = pd.read_csv(path)
    assert tuple(table) == COLUMNS and list(table["case"]) == ["a", "b"]
    assert list(table["step"]) == ["reading", "N4"] and table["cause"][1] == "one, two"
    assert failed.lines[0].startswith("case a: ")
