"""The checks of a dataset, on fingerprints written by hand: what each finds, and how bad it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.overlap import Overlap, SharedScan
from dal_auto.datasets.registry import Dataset, load_records
from dal_auto.datasets.search import Found, Remark
from dal_auto.findings import Finding, Kind
from dal_auto.images.oddities import COMPRESSION, FORMS_CONFLICT, NO_ORIENTATION
from dal_auto.preprocessing.checks.run import (
    CHECKS,
    CheckLine,
    check_dataset,
    has_errors,
    saved_fingerprints,
    write_check,
)
from dal_auto.preprocessing.fingerprint import kinds
from dal_auto.preprocessing.fingerprint.dataset import (
    CaseFingerprint,
    Fingerprint,
    ImageFingerprint,
)

CLAIMS = ClaimedState(True, True, False, True)


def image(number: int = 0, **changes: Any) -> ImageFingerprint:
    """An image in SRI24's box, as BraTS ships it; the number makes its voxels its own."""
    values: dict[str, Any] = {
        "shape": (240, 240, 155),
        "spacing_mm": (1.0, 1.0, 1.0),
        "axcodes": "LPS",
        "oblique_degrees": 0.0,
        "minimum": 0.0,
        "maximum": 900.0,
        "negative_voxels": 0,
        "nonzero_ml": 1450.0,
        "stripped": True,
        "atlas_dice": 0.93,
        "dtype": "int16",
        "forms_conflict_mm": None,
        "voxels_sha256": f"{number:064d}",
        "percentiles": (10.0, 300.0, 800.0),
        "bias_share": None,
    }
    return ImageFingerprint(**values | changes)


def measured(case_id: str, number: int, **changes: Any) -> CaseFingerprint:
    """T1, T2 and a mask without fault; ``T1=…`` and ``T2=…`` change an image."""
    images = {
        name: image(10 * number + place, **changes.pop(name, {}))
        for place, name in enumerate(("T1", "T2"))
    }
    values: dict[str, Any] = {
        "case_id": case_id,
        "images": images,
        "one_grid": True,
        "nonzero_overlap": 0.99,
        "lesion_ml": 30.0,
        "true_header": None,
        "brain_ml": 1430.0,
        "lesion_labels": (1.0, 2.0, 4.0),
        "lesion_labels_integer": True,
        "lesion_count": 2,
        "smallest_lesion_ml": 0.5,
        "lesion_grid_of": "T1",
        "lesion_outside_share": 0.01,
        "lesion_outside_mirrored": 0.02,
        "sequence_correlation": -0.4,
        "findings": (),
    }
    return CaseFingerprint(**values | changes)


def ids(count: int) -> list[str]:
    return [f"BraTS2021_{number:05d}" for number in range(count)]


def dataset(
    name: str = "BraTS-GLI",
    case_ids: Sequence[str] | None = None,
    *,
    layout: int = 0,
    claims: ClaimedState = CLAIMS,
    masks: bool = True,
    **found: Any,
) -> Dataset:
    record = load_records()[name]
    cases = tuple(
        RawCase(
            name,
            case_id,
            case_id.rsplit("-", 1)[0],
            {"T1": Path("t1"), "T2": Path("t2")},
            Path("seg") if masks else None,
            claims=claims,
        )
        for case_id in case_ids or ids(3)
    )
    quality = dict.fromkeys((case.case_id for case in cases), "expert") if masks else {}
    values: dict[str, Any] = {
        "layout": record.layouts[layout],
        "cases": cases,
        "subsets": {},
        "mask_quality": quality,
        "excluded": {},
        "remarks": (),
    }
    return Dataset(name, Path("/raw") / name, record, cases, False, "record",
                   Found(**values | found))  # fmt: skip


def check(
    of: Dataset, odd: dict[str, dict[str, Any]] | None = None, **more: Any
) -> dict[str, list[CheckLine]]:
    """Check → its lines; `odd` changes the fingerprints of some cases."""
    lines = check_dataset(of, fingerprint(of, odd), **more)
    return {
        name: [line for line in lines if line.check == name]
        for name in (check.name for check in CHECKS)
    }


def fingerprint(of: Dataset, odd: dict[str, dict[str, Any]] | None = None) -> Fingerprint:
    cases = (
        measured(case.case_id, number, **(odd or {}).get(case.case_id, {}))
        for number, case in enumerate(of.cases)
    )
    return Fingerprint(dataset=of.name, cases=tuple(cases))


def worst(lines: list[CheckLine]) -> CheckLine:
    return lines[0]


def test_a_faultless_set_passes_every_check() -> None:
    of = dataset("BraTS-PED", [f"BraTS-PED-{n:05d}-000" for n in range(99)])
    odd = {case.case_id: {"lesion_labels": (1.0, 2.0, 3.0)} for case in of.cases}
    lines = check_dataset(of, fingerprint(of, odd))
    assert {line.level for line in lines} == {"ok"} and not has_errors(lines)
    assert {line.number for line in lines} == set(range(1, len(CHECKS) + 1))


ODD: list[tuple[str, str, dict[str, Any], str]] = [
    # check, result, what is odd of the case, what is said
    ("grids", "error", {"one_grid": False, "T2": {"shape": (10, 20, 30)}}, "10×20×30"),
    ("grids", "warning", {"T1": {"shape": (182, 218, 182)}}, "182×218×182"),
    ("grids", "warning", {"T2": {"spacing_mm": (1.0, 1.0, 5.0)}}, "T2"),
    ("mask labels", "error", {"lesion_labels": (1.0, 7.0)}, "1, 7"),
    ("mask labels", "warning", {"lesion_labels": (1.0, 3.0)}, "1, 3"),  # 2023's convention
    ("stripping", "warning", {"T1": {"stripped": False}, "T2": {"stripped": False}}, "1.45 l"),
    ("stripping", "warning", {"brain_ml": 640.0}, "640 ml"),
    ("background", "warning", {"T1": {"stripped": False, "nonzero_ml": 8928.0, "minimum": 3.0}},
     "minimum 3"),
    ("orientation", "warning", {"T1": {"atlas_dice": 0.2}}, "T1 0.2"),
    ("contrasts", "warning", {"sequence_correlation": 0.55}, "+0.55"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "result", "odd", "said"), ODD)
def test_one_odd_case_is_found_named_and_graded(
    name: str, result: str, odd: dict[str, Any], said: str
) -> None:
    case_id = ids(3)[1]
    line = worst(check(dataset(), {case_id: odd})[name])
    assert line.level == result
    assert said in line.cases[case_id] and line.remedy
    assert set(line.cases) == {case_id}


MEASURED: dict[str, tuple[Kind, ...]] = {
    "readable": (kinds.UNREADABLE,),
    "grids": (kinds.MASK_GRID, kinds.MASK_SHIFTED, FORMS_CONFLICT),
    "mask labels": (
        kinds.MASK_FRACTIONS,
        kinds.MASK_ROUNDED,
        kinds.MASK_NEGATIVE,
        kinds.MASK_EMPTY,
    ),
    "lesions": (kinds.LESION_VOLUME, kinds.LESION_FLIPPED, kinds.LESION_OUTSIDE),
    "stripping": (kinds.PARTLY_STRIPPED,),
    "background": (kinds.NEGATIVE,),
    "orientation": (kinds.HEADER_WRONG, kinds.HEADER_IN_DOUBT),
    "contrasts": (kinds.CONTRAST,),
    "duplicates": (kinds.SAME_VOXELS,),
    "oddities": (kinds.THICK, kinds.FIELD_OF_VIEW, kinds.APART, COMPRESSION, NO_ORIENTATION),
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, listed in MEASURED.items() for kind in listed]
)
def test_what_was_measured_stands_once_below_the_check_that_it_belongs_to(
    name: str, kind: Kind
) -> None:
    case_id = ids(3)[1]
    found = kind.found("as measured", value=3.0)
    lines = check(dataset(), {case_id: {"findings": (found,)}})
    saying = [line for of in lines.values() for line in of if "as measured" in line.cases.values()]
    (line,) = saying
    assert (line.check, line.level, line.title) == (name, kind.level, kind.title)
    assert line.findings == (found.of(case_id),) and line.remedy == kind.remedy
    if name in ("background", "contrasts", "duplicates", "oddities"):
        assert len(lines[name]) == 1  # what is well is not said beside it


def test_two_findings_of_one_code_and_case_share_a_row() -> None:
    found = tuple(kinds.THICK.found(f"{name}: slices of 5.0 mm") for name in ("T1", "T2"))
    (line,) = check(dataset(), {ids(3)[1]: {"findings": found}})["oddities"]
    assert line.cases == {ids(3)[1]: "T1: slices of 5.0 mm; T2: slices of 5.0 mm"}


def test_a_contrast_that_is_suspected_is_not_suspected_twice() -> None:
    odd = {"findings": (kinds.CONTRAST.found("swapped"),), "sequence_correlation": 0.55}
    (line,) = check(dataset(), {ids(3)[1]: odd})["contrasts"]
    assert line.cases == {ids(3)[1]: "swapped"}


@pytest.mark.parametrize(
    ("claims", "odd", "name"),
    [
        (ClaimedState(), {"one_grid": False}, "grids"),
        (ClaimedState(), {"T1": {"stripped": False}, "T2": {"stripped": False}}, "stripping"),
        (ClaimedState(), {"T1": {"atlas_dice": 0.1}}, "orientation"),
        (ClaimedState(), {"T1": {"nonzero_ml": 8928.0}}, "background"),
    ],
)
def test_what_the_record_does_not_claim_is_no_fault(
    claims: ClaimedState, odd: dict[str, Any], name: str
) -> None:
    lines = check(dataset(claims=claims), {ids(3)[1]: odd})[name]
    assert {line.level for line in lines} <= {"ok", "none"}


def test_what_the_record_denies_and_is_there_is_a_warning() -> None:
    denied = dataset(claims=ClaimedState(False, False, False, True))
    lines = check(denied)
    assert "the record says they are not" in worst(lines["stripping"]).title
    assert "the record says they do not" in worst(lines["orientation"]).title


def test_with_skull_only_equal_images_are_suspected() -> None:
    skull = {"T1": {"stripped": False}, "T2": {"stripped": False}}
    of = dataset(claims=ClaimedState(False, False, False, True))
    odd = {i: {**skull, "sequence_correlation": r} for i, r in zip(ids(3), (0.5, 0.7, 0.95),
                                                                   strict=True)}  # fmt: skip
    assert list(worst(check(of, odd)["contrasts"]).cases) == [ids(3)[2]]


def test_without_masks_there_is_nothing_to_check() -> None:
    lines = check(dataset(masks=False), {case_id: {"lesion_ml": None} for case_id in ids(3)})
    assert [worst(lines[name]).level for name in ("mask labels", "lesions")] == ["none", "none"]


def test_label_4_of_the_paediatric_set_tells_the_year() -> None:
    case_ids = [f"BraTS-PED-{n:05d}-000" for n in range(3)]
    odd = {case_ids[0]: {"lesion_labels": (1.0, 2.0, 3.0, 4.0)},
           **{i: {"lesion_labels": (1.0, 3.0)} for i in case_ids[1:]}}  # fmt: skip
    line = worst(check(dataset("BraTS-PED", case_ids), odd)["mask labels"])
    assert line.level == "warning" and "2024" in line.title and list(line.cases) == case_ids[:1]


def test_the_thick_slices_of_ixi_are_named() -> None:
    case_ids = ["IXI002-Guys-0828", "IXI014-HH-1236"]
    of = dataset("IXI", case_ids, claims=ClaimedState(False, False, False, False), masks=False)
    thick = {"T2": {"spacing_mm": (0.9, 0.9, 4.98)}}
    lines = check(of, {case_ids[1]: thick})
    assert list(worst(lines["grids"]).cases) == case_ids[1:]
    (found,) = worst(lines["grids"]).findings
    assert (found.code, found.value, found.limit) == ("coarse-voxels", 4.98, 2.0)


# --- doubles and overlaps


def test_the_same_images_in_another_dataset_are_an_error_but_not_where_overlap_is_declared() -> (
    None
):
    of = dataset()
    copy = fingerprint(of)
    line = worst(check(of, others={"Clinic": copy})["duplicates"])
    assert line.level == "error" and "Clinic" in line.title and len(line.cases) == 3
    assert line.cases[ids(1)[0]] == "T2 has the voxels of BraTS2021_00000 T2"
    line = worst(check(of, others={"UPenn-GBM": copy})["duplicates"])
    assert line.level == "warning" and "UPenn-GBM" in line.title


OVERLAP = Overlap(
    (
        SharedScan("UCSF-PDGM", "UCSF-PDGM-0004", "BraTS2021_00001", "meta.csv"),
        SharedScan("UPenn-GBM", "UPENN-GBM-00001_11", "BraTS2021_00000", "map.csv"),
        SharedScan("UPenn-GBM", "UPENN-GBM-00009_11", "BraTS2021_00009", "map.csv"),
    ),
    undecidable={"UPenn-GBM": 115},
    names_2023={"BraTS2021_00001": "BraTS-GLI-00001-000"},
)


def test_shared_scans_are_listed_from_both_sides() -> None:
    ours = {line.title: line.cases for line in check(dataset(), overlap=OVERLAP)["duplicates"]}
    shared = [cases for cases in ours.values() if cases]
    assert shared == [
        {"BraTS2021_00001": "UCSF-PDGM-0004, by meta.csv"},
        {"BraTS2021_00000": "UPENN-GBM-00001_11, by map.csv"},
    ]
    assert any("of 115 BraTS-GLI cases it cannot be told" in finding for finding in ours)
    upenn = dataset("UPenn-GBM", ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11"])
    line = worst(check(upenn, overlap=OVERLAP)["duplicates"])
    assert line.cases == {"UPENN-GBM-00001_11": "BraTS2021_00000, by map.csv"}
    assert line.level == "warning" and "--exclude-overlap" in line.remedy


def test_shared_scans_are_found_in_the_naming_of_2023() -> None:
    of = dataset(case_ids=["BraTS-GLI-00001-000"], layout=1)
    lines = check(of, overlap=OVERLAP)["duplicates"]
    assert {"BraTS-GLI-00001-000": "UCSF-PDGM-0004, by meta.csv"} in [x.cases for x in lines]


def test_an_overlap_that_cannot_be_told_says_what_to_get() -> None:
    line = worst(
        check(dataset("UPenn-GBM", ["UPENN-GBM-00001_11"]), overlap=Overlap())["duplicates"]
    )
    assert line.level == "warning" and "BraTS2021_MappingToTCIA.xlsx" in line.title


# --- counts


def test_an_incomplete_set_is_told_with_the_missing_ids() -> None:
    case_ids = [f"patient{n:02d}" for n in range(1, 29)]
    line = worst(check(dataset("MSLUB", case_ids))["counts"])
    assert line.level == "warning" and "28 cases, 30 in a complete download" in line.title
    assert list(line.cases) == ["patient29", "patient30"]


def test_ids_that_a_table_on_disk_lists_are_missed_too() -> None:
    listed = Overlap(listed={"BraTS-GLI": frozenset(ids(5))})
    line = worst(check(dataset(), overlap=listed)["counts"])
    assert list(line.cases) == ids(5)[3:]


def test_numbers_of_another_release_are_complete() -> None:
    def of(count: int) -> Dataset:
        return dataset("BraTS-SSA", [f"BraTS-SSA-{n:05d}-000" for n in range(count)],
                       subsets={"BraTS-SSA-00000-000": "glioma"})  # fmt: skip

    assert worst(check(of(146))["counts"]).level == "ok"
    assert "glioma 1 of 95" in worst(check(of(146))["counts"]).title
    assert worst(check(of(100))["counts"]).level == "warning"


def test_excluded_cases_count_as_found() -> None:
    case_ids = [f"BraTS-MET-{n:05d}-000" for n in range(237)]
    of = dataset("BraTS-MET", case_ids, excluded={"BraTS-MET-00232-000": "broken"})
    case_ids.remove("BraTS-MET-00232-000")
    of = replace(of, cases=tuple(c for c in of.cases if c.case_id in case_ids))
    lines = check(of)["counts"]
    assert "237 cases, 238 in a complete download" in worst(lines).title
    assert {"BraTS-MET-00232-000": "broken"} in [line.cases for line in lines]


def test_pairs_known_to_lack_a_sequence_are_told_from_new_ones() -> None:
    of = dataset("IXI", ["IXI002-Guys-0828", "IXI116-Guys-0739", "IXI015-HH-1258"], masks=False)
    cases = tuple(
        c if c.case_id == "IXI002-Guys-0828" else replace(c, sequences={"T1": Path("t1")})
        for c in of.cases
    )
    lines = check(replace(of, cases=cases))["counts"]
    lacking = {line.title: list(line.cases) for line in lines if "lack a sequence" in line.title}
    assert lacking == {
        "cases that lack a sequence": ["IXI015-HH-1258"],
        "cases that lack a sequence in every download": ["IXI116-Guys-0739"],
    }
    assert "T1 3 of 581, T2 1 of 578, pairs 1 of 577" in worst(lines).title


def test_patients_are_counted_apart_from_cases() -> None:
    case_ids = [f"BraTS-MEN-{n // 2:05d}-{n % 2:03d}" for n in range(1000)]
    finding = [line.title for line in check(dataset("BraTS-MEN", case_ids))["counts"]]
    assert "500 patients, 944 are expected" in finding
    unknown = replace(dataset(), patients_known=False)
    line = next(line for line in check(unknown)["counts"] if "every case counts" in line.title)
    assert line.level == "warning" and "BraTS2023_2017_GLI_Mapping.xlsx" in line.remedy


def test_automated_masks_are_listed() -> None:
    case_ids = ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11"]
    quality = {case_ids[0]: "expert", case_ids[1]: "automated"}
    lines = check(dataset("UPenn-GBM", case_ids, mask_quality=quality))["counts"]
    line = next(line for line in lines if "drawn by a program" in line.title)
    assert list(line.cases) == case_ids[1:] and "1 (of 147) are by experts" in line.title


def test_remarks_of_the_search_stand_in_the_table_with_all_their_cases() -> None:
    remark = Remark("9 of 12 cases have no lesion mask", tuple(ids(9)))
    lines = check(dataset(remarks=(remark,)))["counts"]
    line = next(line for line in lines if line.title == remark.words)
    assert line.level == "warning" and list(line.cases) == ids(9)


def test_a_folder_without_a_record_is_measured_all_the_same() -> None:
    cases = tuple(replace(case, claims=ClaimedState()) for case in dataset().cases)
    of = Dataset("Mine", Path("/raw/Mine"), None, cases, False, "bids")
    odd = {ids(3)[0]: {"lesion_labels": (1.0, 9.0)}}
    lines = check_dataset(of, fingerprint(of, odd))
    assert {line.level for line in lines} == {"ok"}


# --- files


def test_the_table_is_written_with_every_case_and_read_back(tmp_path: Path) -> None:
    of = dataset()
    lines = check_dataset(of, fingerprint(of, {ids(3)[1]: {"lesion_labels": (7.0,)}}))
    write_check(tmp_path, lines)
    table = pd.read_csv(tmp_path / "check.csv")
    row = table[table["result"] == "error"].iloc[0]
    assert (row["check"], row["case"], row["details"]) == ("mask labels", ids(3)[1], "labels 7")
    assert set(table["number"]) == set(range(1, len(CHECKS) + 1))
    content = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    kept = [(one.pop("number"), one.pop("check"), Finding.parse(one)) for one in content]
    assert kept == [(line.number, line.check, x) for line in lines for x in line.findings]
    strange = kinds.UNREADABLE.found("M\udcfc.nii: bad").of("M\udcfc")
    write_check(tmp_path / "strange", [CheckLine(1, "readable", (strange,))])
    (row,) = pd.read_csv(tmp_path / "strange" / "check.csv").to_dict("records")
    assert (row["case"], row["details"]) == ("M\\udcfc", "M\\udcfc.nii: bad")
    again = tmp_path / "again"
    write_check(again, check_dataset(of, fingerprint(of, {ids(3)[1]: {"lesion_labels": (7.0,)}})))
    for name in ("check.csv", "check.json"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_fingerprints_of_other_datasets_are_read_and_unreadable_ones_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of = dataset()
    for name in ("BraTS-GLI", "Clinic"):
        fingerprint(of).save(tmp_path / name / "fingerprint.json")
    (tmp_path / "Old").mkdir()
    (tmp_path / "Old" / "fingerprint.json").write_text('{"dataset": "Old", "cases": [{}]}')
    assert list(saved_fingerprints(tmp_path, but="BraTS-GLI")) == ["Clinic"]
    assert "dal_datasets check Old" in caplog.text
