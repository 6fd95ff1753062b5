"""Scans that are in two test sets, from the tables or folders that tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from dal_auto.datasets.overlap import (
    Overlap,
    SharedScan,
    cases_to_leave_out,
    find_overlap,
    shared_cases,
)
from dal_auto.errors import InputError, UsageError

Tree = Callable[..., Path]
CROSSWALK = "BraTS2021_MappingToTCIA"
ALL = {
    "BraTS-GLI": ["BraTS2021_00000", "BraTS2021_00014", "BraTS2021_00495", "BraTS2021_01666"],
    "UPenn-GBM": ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11"],
    "UCSF-PDGM": ["UCSF-PDGM-0004", "UCSF-PDGM-0433", "UCSF-PDGM-0433_FU007d"],
    "MSLUB": ["patient01"],
}
BY_CROSSWALK = (
    ("UCSF-PDGM", "UCSF-PDGM-0004", "BraTS2021_00014"),
    ("UCSF-PDGM", "UCSF-PDGM-0433_FU007d", "BraTS2021_00495"),
    ("UPenn-GBM", "UPENN-GBM-00001_11", "BraTS2021_00000"),
)


@pytest.fixture
def crosswalk(tmp_path: Path, miniature: ModuleType) -> Path:
    """DAL_RAW with TCIA's crosswalk, as CSV."""
    path = tmp_path / "raw" / "BraTS-GLI" / "metadata" / f"{CROSSWALK}.csv"
    miniature.touch(path, miniature.CROSSWALK.encode())
    return tmp_path / "raw"


def pairs(overlap: Overlap) -> tuple[tuple[str, str, str], ...]:
    return tuple((one.dataset, one.case_id, one.brats_gli) for one in overlap.scans)


def test_nothing_is_known_without_a_table_or_folder(tmp_path: Path) -> None:
    assert find_overlap(tmp_path) == Overlap()


def test_the_crosswalk_tells_both_ids_and_what_it_cannot_tell(crosswalk: Path) -> None:
    """Validation cases, placeholders and other collections are no overlap; old ids are renamed."""
    found = find_overlap(crosswalk)
    assert pairs(found) == BY_CROSSWALK
    assert found.undecidable == {"UPenn-GBM": 1, "UCSF-PDGM": 1}
    assert [Path(source).name for source in found.sources] == [f"{CROSSWALK}.csv"]
    assert "BraTS2021_00701" in found.listed["BraTS-GLI"]
    assert "BraTS2021_00001" not in found.listed["BraTS-GLI"]  # a validation case


def test_the_excel_file_tells_the_same(tmp_path: Path, miniature: ModuleType) -> None:
    pytest.importorskip("openpyxl")
    miniature.write_xlsx(tmp_path / "UPenn-GBM" / f"{CROSSWALK}.xlsx", miniature.CROSSWALK)
    assert pairs(find_overlap(tmp_path)) == BY_CROSSWALK


def test_ucsfs_own_metadata_tell_its_part(tmp_path: Path, miniature: ModuleType) -> None:
    miniature.write_tree("UCSF-PDGM", tmp_path / "UCSF-PDGM")
    found = find_overlap(tmp_path)
    assert pairs(found) == BY_CROSSWALK[:2]
    assert found.listed["UCSF-PDGM"] == {
        "UCSF-PDGM-0004", "UCSF-PDGM-0007", "UCSF-PDGM-0433", "UCSF-PDGM-0433_FU007d",
        "UCSF-PDGM-0541",
    }  # fmt: skip


def test_folders_tell_which_cases_of_brats_gli(tmp_path: Path, miniature: ModuleType) -> None:
    miniature.write_tree("BraTS-GLI", tmp_path / "BraTS-GLI")
    found = find_overlap(tmp_path)
    assert not found.scans and found.by_folder == {
        "UPenn-GBM": {"BraTS2021_00000"},
        "UCSF-PDGM": {"BraTS2021_00014"},
    }
    assert shared_cases(found, "BraTS-GLI") == {"BraTS2021_00000", "BraTS2021_00014"}
    assert shared_cases(found, "UPenn-GBM") == frozenset()


def test_shared_cases_have_the_ids_of_every_release(crosswalk: Path, miniature: ModuleType) -> None:
    mapping = crosswalk / "BraTS-GLI" / "BraTS2023_2017_GLI_Mapping.csv"
    miniature.touch(mapping, miniature.NAMES_2023.encode())
    found = find_overlap(crosswalk)
    assert shared_cases(found, "UPenn-GBM") == {"UPENN-GBM-00001_11"}
    assert shared_cases(found, "UCSF-PDGM") == {
        "UCSF-PDGM-0004", "UCSF-PDGM-0433_FU007d", "UCSF-PDGM-0315",
    }  # fmt: skip
    assert shared_cases(found, "BraTS-GLI") == {
        "BraTS2021_00000", "BraTS2021_00014", "BraTS2021_00495",
        "BraTS-GLI-00000-000", "BraTS-GLI-00008-000", "BraTS-GLI-00008-001",
    }  # fmt: skip
    assert shared_cases(found, "MSLUB") == frozenset()


def test_with_pairs_upenn_and_ucsf_are_thinned_and_brats_gli_is_kept(crosswalk: Path) -> None:
    left = cases_to_leave_out(find_overlap(crosswalk), ALL)
    assert {name: list(cases) for name, cases in left.items()} == {
        "UPenn-GBM": ["UPENN-GBM-00001_11"],
        "UCSF-PDGM": ["UCSF-PDGM-0004", "UCSF-PDGM-0433_FU007d"],
    }
    assert left["UPenn-GBM"]["UPENN-GBM-00001_11"] == (
        f"BraTS2021_00000 in BraTS-GLI, by {CROSSWALK}.csv"
    )


def test_so_they_are_where_brats_gli_is_not_evaluated(crosswalk: Path) -> None:
    left = cases_to_leave_out(find_overlap(crosswalk), {"UPenn-GBM": ALL["UPenn-GBM"]})
    assert list(left["UPenn-GBM"]) == ["UPENN-GBM-00001_11"]


def test_the_id_of_an_early_release_is_left_out_too(crosswalk: Path) -> None:
    left = cases_to_leave_out(find_overlap(crosswalk), {"UCSF-PDGM": ["UCSF-PDGM-0315"]})
    assert list(left["UCSF-PDGM"]) == ["UCSF-PDGM-0315"]


def test_with_folders_only_the_cases_of_brats_gli_are_left_out() -> None:
    overlap = Overlap(by_folder={"UPenn-GBM": frozenset({"BraTS2021_00000"})})
    evaluated = {name: ALL[name] for name in ("BraTS-GLI", "UPenn-GBM")}
    left = cases_to_leave_out(overlap, evaluated)
    assert {name: list(cases) for name, cases in left.items()} == {"BraTS-GLI": ["BraTS2021_00000"]}
    with pytest.raises(UsageError, match=f"{CROSSWALK}.xlsx"):  # nothing else could be left out
        cases_to_leave_out(overlap, {"UPenn-GBM": ALL["UPenn-GBM"]})


def test_an_overlap_that_cannot_be_told_is_an_error_that_says_what_to_get() -> None:
    scans = (SharedScan("UPenn-GBM", "UPENN-GBM-00001_11", "BraTS2021_00000", "x.csv"),)
    with pytest.raises(UsageError, match=r"UCSF-PDGM.*MappingToTCIA.*metadata_v5"):
        cases_to_leave_out(Overlap(scans), ALL)


def test_other_datasets_have_nothing_to_leave_out() -> None:
    assert cases_to_leave_out(Overlap(), {"MSLUB": ["patient01"], "BraTS-GLI": ["x"]}) == {}


def test_a_table_of_another_kind_is_an_error_that_names_the_missing_column(tree: Tree) -> None:
    raw = tree(f"BraTS-GLI/{CROSSWALK}.csv")
    (raw / "BraTS-GLI" / f"{CROSSWALK}.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="BraTS2021 ID"):
        find_overlap(raw)
