"""Tables beside the images: Excel files and CSV copies, in the dialects that Excel writes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from dal_auto.datasets.sheets import find_sheet, read_sheet
from dal_auto.errors import InputError, MissingDependency


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_of_any_dialect_is_read_as_text(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    rows = [["ID", " Name ", "n"], ["007", '"Ü, or; both\tof it"', "4"], ["8", "", " 5 "]]
    path.write_text("\n".join(separator.join(row) for row in rows), encoding=encoding)
    table = read_sheet(path, ["Name", "ID", "n"])
    assert table.to_numpy().tolist() == [["Ü, or; both\tof it", "007", "4"], ["", "8", "5"]]


def test_excel_is_read_like_its_csv_copy(tmp_path: Path, miniature: ModuleType) -> None:
    pytest.importorskip("openpyxl")
    columns = ["BraTS2021 ID", "PatientID on TCIA Radiology Portal"]
    miniature.write_xlsx(tmp_path / "a.xlsx", miniature.CROSSWALK)
    miniature.touch(tmp_path / "a.csv", miniature.CROSSWALK.encode())
    as_excel, as_csv = (read_sheet(tmp_path / f"a{e}", columns) for e in (".xlsx", ".csv"))
    assert as_excel.to_numpy().tolist() == as_csv.to_numpy().tolist()


def test_without_openpyxl_the_error_says_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(MissingDependency, match=r"pip install openpyxl.*\.csv"):
        read_sheet(tmp_path / "a.xlsx", ["ID"])


def test_a_missing_column_is_an_error_that_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID,Age\n1,2\n")
    with pytest.raises(InputError, match=r"a\.csv.*'Sex'.*ID, Age"):
        read_sheet(tmp_path / "a.csv", ["ID", "Sex"])


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv"])
def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    (tmp_path / name).write_bytes(b"\xff\xfe\x00 no table")
    with pytest.raises(InputError, match=name):
        read_sheet(tmp_path / name, ["ID"])


def test_the_csv_copy_comes_first_then_the_latest_version(tmp_path: Path) -> None:
    for name in ("deep/er/meta_v2.csv", "meta_v5.xlsx", "meta_v4.csv", "._meta_v9.csv",
                 "~$meta_v9.xlsx", "meta_v9.txt"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_sheet("meta_v*", [tmp_path / "nowhere", tmp_path]) == tmp_path / "meta_v4.csv"
    assert find_sheet("other*", [tmp_path]) is None
