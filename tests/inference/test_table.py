"""The tables beside the maps."""

from __future__ import annotations

import pandas as pd

from dal_auto.inference.table import CASES, COMPONENTS, FAILURES, SECONDS, write_tables
from dal_auto.store.atomic import write_json


def record(case: str, *sequences: str) -> dict:
    row = {name: 1.5 for name in CASES if name not in ("flags", "warnings")}
    found = {name: 2.5 for name in COMPONENTS if name != "component"}
    return {
        "case": case,
        "flags": ["f 1", "f 2"],
        "warnings": [],
        "rows": [row | {"case": case, "sequence": s} for s in sequences],
        "components": [found | {"case": case, "sequence": s} for s in sequences for _ in range(2)],
    }


def test_every_table_has_its_columns_and_rows(tmp_path):
    write_json(tmp_path / "logs" / "a.json", {"seconds": {"N4": 3.5, "write": 0.25}})
    failures = [{"case": name, "step": "N4", "cause": "c"} for name in ("z", "y")]
    write_tables(tmp_path, [record("a", "T1", "T2"), record("b", "T1")], failures)
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert tuple(cases.columns) == CASES and list(cases["sequence"]) == ["T1", "T2", "T1"]
    assert cases.loc[0, "flags"] == "f 1; f 2"
    components = pd.read_csv(tmp_path / "components.csv")
    assert tuple(components.columns) == COMPONENTS
    assert list(components["component"]) == [1, 2] * 3
    seconds = pd.read_csv(tmp_path / "logs" / "seconds.csv")
    assert seconds.values.tolist() == [["a", "N4", 3.5], ["a", "write", 0.25]]
    assert list(pd.read_csv(tmp_path / "failures.csv")["case"]) == ["y", "z"]


def test_without_a_case_there_are_heads(tmp_path):
    write_tables(tmp_path, [], [])
    for name, columns in (
        ("cases.csv", CASES),
        ("components.csv", COMPONENTS),
        ("failures.csv", FAILURES),
        ("logs/seconds.csv", SECONDS),
    ):
        assert (tmp_path / name).read_text().splitlines() == [",".join(columns)]
