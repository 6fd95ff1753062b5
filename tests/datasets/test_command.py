"""``dal_datasets list`` and ``check`` on miniature trees: what is printed, kept, and returned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from dal_auto.cli.datasets import main
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas

Check = Callable[..., tuple[int, pd.DataFrame, str]]


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: ModuleType
) -> Callable[..., Path]:
    """DAL_HOME with miniature datasets, a terminal of 80 columns, and a toy atlas."""
    for name in ("DAL_RAW", "DAL_PREPROCESSED", "DAL_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[50:190, 40:210, 15:140] = 1
    atlas = Atlas("toy", image, "")
    monkeypatch.setattr(
        "dal_auto.preprocessing.fingerprint.case.load_atlas", lambda file=None: atlas
    )

    def written(*names: str) -> Path:
        for name in names:
            miniature.write_tree(name, tmp_path / "raw" / name.split(":")[0])
        return tmp_path

    return written


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the check; the exit code, the table that it keeps, and what it prints."""

    def run(dataset: str) -> tuple[int, pd.DataFrame, str]:
        code = main(["check", dataset, "-np", "1", "--step-limit", "0"])
        kept = tmp_path / "preprocessed" / dataset
        assert (kept / "fingerprint.json").is_file()
        assert json.loads((kept / "check.json").read_text(encoding="utf-8"))
        return code, pd.read_csv(kept / "check.csv"), capsys.readouterr().out

    return run


def errors(table: pd.DataFrame) -> set[str]:
    return set(table.loc[table["result"] == "error", "check"])


def warned(table: pd.DataFrame, check: str) -> list[str]:
    rows = table[(table["result"] == "warning") & (table["check"] == check)]
    return rows["case"].dropna().tolist()


def test_the_list_fits_a_terminal_and_shows_what_is_there(
    home: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home("IXI", "BraTS-MEN")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines[2:]) <= 80  # the first names DAL_RAW
    row = next(line for line in lines if line.startswith("IXI ")).split()
    assert row[:5] == ["IXI", "training", "5", "582", "5"]
    assert any("https://brain-development.org/ixi-dataset/  CC BY-SA 3.0" in x for x in lines)
    assert any("! BraTS-MEN-TRAIN-FIX-V4* has 1 corrected cases" in line for line in lines)


def test_a_sound_set_passes_with_page_licence_and_warnings(
    home: Callable[..., Path], check: Check
) -> None:
    home("UPenn-GBM")
    code, table, shown = check("UPenn-GBM")
    assert (code, errors(table)) == (0, set())
    assert "https://doi.org/10.7937/TCIA.709X-DN49" in shown and "CC BY 4.0" in shown
    assert "3 cases, 611 in a complete download" in " ".join(shown.split())
    automated = table[table["finding"].str.contains("drawn by a program")]["case"]
    assert list(automated) == ["UPENN-GBM-00002_11", "UPENN-GBM-00260_11"]
    assert "UPENN-GBM-00260_11" in warned(table, "oddities")  # its folder old/


def test_raw_images_of_mslub_are_refused_since_their_mask_fits_none(
    home: Callable[..., Path], check: Check
) -> None:
    home("MSLUB:raw")
    code, table, shown = check("MSLUB")
    assert code == 1 and errors(table) == {"grids"}
    refused = table[table["result"] == "error"]
    assert list(refused["case"]) == ["patient01", "patient02"]
    assert "coregistered/, not raw/" in " ".join(shown.split())


@pytest.mark.parametrize("name", ["MSLUB", "MSLUB:mirror", "ATLAS", "BraTS-MET", "BraTS-SSA"])
def test_other_sets_have_no_errors(home: Callable[..., Path], check: Check, name: str) -> None:
    home(name)
    code, table, _ = check(name.split(":")[0])
    assert (code, errors(table)) == (0, set()), table[table["result"] == "error"].to_string()
    if name == "BraTS-SSA":
        assert warned(table, "background") == ["BraTS-SSA-00002-000"]
    if name == "BraTS-MET":
        assert "BraTS-MET-00232-000" in warned(table, "counts")


def test_the_year_of_the_paediatric_set_and_missing_stripping_are_told(
    home: Callable[..., Path], check: Check
) -> None:
    home("BraTS-PED")
    code, table, _ = check("BraTS-PED")
    assert code == 0 and warned(table, "mask labels") == ["BraTS-PED-00004-000"]
    assert "BraTS-PED-00003-000" in warned(table, "orientation")  # has skull: not on the atlas


def test_rounding_errors_in_masks_are_a_warning(home: Callable[..., Path], check: Check) -> None:
    home("UCSF-PDGM")
    code, table, _ = check("UCSF-PDGM")
    assert code == 0 and warned(table, "mask labels") == ["UCSF-PDGM-0433"]
    assert "UCSF-PDGM-0007" in warned(table, "counts")  # listed in the metadata, not on disk


def test_an_unreadable_image_is_an_error_and_the_others_are_checked(
    home: Callable[..., Path], check: Check, miniature: ModuleType
) -> None:
    root = home("IXI") / "raw" / "IXI"
    miniature.truncate(root / "IXI-T2" / "IXI012-HH-1211-T2.nii.gz")
    (root / "IXI-T1" / "IXI002-Guys-0828-T1.nii.gz").unlink()
    (root / "IXI-T1" / "IXI002-Guys-0828-T1.nii.gz").symlink_to(root / "gone.nii.gz")
    code, table, _ = check("IXI")
    broken = table[table["result"] == "error"]
    assert code == 1 and set(broken["check"]) == {"readable"}
    assert list(broken["case"]) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
    assert broken["details"].str.contains("IXI012-HH-1211-T2.nii.gz").any()
    assert "IXI014-HH-1236" in warned(table, "grids")


def test_one_scan_under_two_ids_and_in_two_datasets_is_an_error(
    home: Callable[..., Path], check: Check
) -> None:
    root = home("IXI") / "raw"
    first = root / "IXI" / "IXI-T1" / "IXI002-Guys-0828-T1.nii.gz"
    (root / "IXI" / "IXI-T1" / "IXI999-Guys-0001-T1.nii.gz").write_bytes(first.read_bytes())
    code, table, _ = check("IXI")
    copies = table[(table["check"] == "duplicates") & (table["result"] == "error")]
    assert code == 1 and list(copies["case"]) == ["IXI002-Guys-0828", "IXI999-Guys-0001"]
    for case_id in ("sub-1", "sub-2"):
        copy = root / "Clinic" / case_id / "anat" / f"{case_id}_T1w.nii.gz"
        copy.parent.mkdir(parents=True)
        source = first if case_id == "sub-1" else first.with_name("IXI012-HH-1211-T1.nii.gz")
        copy.write_bytes(source.read_bytes())
    code, table, shown = check("Clinic")
    copies = table[(table["check"] == "duplicates") & (table["result"] == "error")]
    assert code == 1 and list(copies["case"]) == ["sub-1", "sub-2"]
    assert "2 cases are also in IXI" in shown


def test_the_overlap_is_listed_with_both_ids(
    home: Callable[..., Path], check: Check, miniature: ModuleType
) -> None:
    root = home("BraTS-GLI", "UPenn-GBM") / "raw"
    _, table, _ = check("BraTS-GLI")
    assert table["details"].eq("from UPenn-GBM, by TCIA's folders").any()
    crosswalk = root / "BraTS-GLI" / "BraTS2021_MappingToTCIA.csv"
    miniature.touch(crosswalk, miniature.CROSSWALK.encode())
    _, table, shown = check("UPenn-GBM")
    row = table[table["finding"].str.startswith("scans shared with BraTS-GLI")].iloc[0]
    assert (row["case"], row["result"]) == ("UPENN-GBM-00001_11", "warning")
    assert row["details"] == "BraTS2021_00000, by BraTS2021_MappingToTCIA.csv"
    assert "--exclude-overlap" in shown


def test_the_check_measures_anew(home: Callable[..., Path], check: Check) -> None:
    root = home("IXI") / "raw" / "IXI"
    assert check("IXI")[0] == 0
    (root / "IXI-T1" / "IXI002-Guys-0828-T1.nii.gz").write_bytes(b"")
    assert check("IXI")[0] == 1
