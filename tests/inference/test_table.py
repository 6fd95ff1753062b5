"""The tables beside the maps."""

from __future__ import annotations

import pandas as pd

from dal_auto.errors import CaseFailed
from dal_auto.inference.remark import Remark
from dal_auto.inference.table import CASES, COMPONENTS, SECONDS, write_tables
from dal_auto.store.atomic import write_json
from dal_auto.store.failures import COLUMNS as FAILURES
from dal_auto.store.failures import Failures


def test_every_table_has_its_columns_and_rows(tmp_path, record):
    write_json(tmp_path / "logs" / "a.json", {"seconds": {"N4": 3.5, "write": 0.25}})
    failures = Failures()
    for name in ("y", "z"):
        failures.add(name, CaseFailed(name, "N4", "c"))
    write_tables(
        tmp_path,
        [record("a", 2.0, 1.0, flags=(Remark(text="f 1"), Remark(text="f 2"))), record("b", 4.0)],
        failures,
    )
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert tuple(cases.columns) == CASES and list(cases["sequence"]) == ["T1", "T2", "T1"]
    assert cases.loc[0, "flags"] == "f 1; f 2"
    components = pd.read_csv(tmp_path / "components.csv")
    assert tuple(components.columns) == COMPONENTS
    assert list(components["component"]) == [1, 2, 3] * 3
    assert list(components["ml"]) == [1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 2.0, 1.0, 1.0]
    assert list(cases["largest_component_ml"]) == [1.0, 0.5, 2.0]
    seconds = pd.read_csv(tmp_path / "logs" / "seconds.csv")
    assert seconds.values.tolist() == [["a", "N4", 3.5], ["a", "write", 0.25]]
    assert list(pd.read_csv(tmp_path / "failures.csv")["case"]) == ["y", "z"]


def test_without_a_case_there_are_heads(tmp_path):
    write_tables(tmp_path, [], Failures())
    for name, columns in (
        ("cases.csv", CASES),
        ("components.csv", COMPONENTS),
        ("failures.csv", FAILURES),
        ("logs/seconds.csv", SECONDS),
    ):
        assert (tmp_path / name).read_text().splitlines() == [",".join(columns)]
