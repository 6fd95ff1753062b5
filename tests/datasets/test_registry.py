"""Which datasets are known, and which lie in DAL_RAW."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dal_auto.datasets.registry import (
    RECORDS,
    dataset_root,
    datasets_on_disk,
    find_dataset,
    load_records,
    record_of,
)
from dal_auto.errors import InputError, UsageError

Tree = Callable[..., Path]
NAMES = ("ATLAS", "BraTS-GLI", "BraTS-MEN", "BraTS-MET", "BraTS-PED", "BraTS-SSA", "HCP", "IXI",
         "MSLUB", "UCSF-PDGM", "UPenn-GBM")  # fmt: skip
IXI_CASE = ("IXI/IXI002-Guys-0828-T1.nii.gz", "IXI/IXI002-Guys-0828-T2.nii.gz")
BIDS_CASES = ("Mine/sub-1/anat/sub-1_T1w.nii.gz", "Mine/sub-2/anat/sub-2_T1w.nii.gz")


def describe(folder: Path, maker: str) -> None:
    content = {"Name": "x", "GeneratedBy": [{"Name": maker}]}
    (folder / "dataset_description.json").write_text(json.dumps(content))


def own_record(folder: Path, **changes: object) -> None:
    content = json.loads((RECORDS / "mslub.json").read_text()) | {"name": folder.name} | changes
    (folder / "dal_record.json").write_text(json.dumps(content))


def test_the_datasets_of_the_paper_are_known_under_the_names_that_users_type() -> None:
    assert tuple(load_records()) == NAMES
    assert len(NAMES) == len(list(RECORDS.glob("*.json")))


@pytest.mark.parametrize("typed", ["IXI", "ixi", "Ixi"])
@pytest.mark.parametrize("folder", ["IXI", "ixi"])
def test_names_are_found_in_any_case_of_letters_and_reported_in_one(
    tree: Tree, typed: str, folder: str
) -> None:
    raw = tree(*(name.replace("IXI/", f"{folder}/") for name in IXI_CASE))
    dataset = find_dataset(typed, raw)
    assert (dataset.name, dataset.root, dataset.kind) == ("IXI", raw / folder, "record")
    assert dataset.record is load_records()["IXI"] and not dataset.simulated
    assert [case.dataset for case in dataset.cases] == ["IXI"]


def test_an_unknown_name_is_an_error_that_lists_what_there_is_and_the_nearest(tree: Tree) -> None:
    with pytest.raises(UsageError) as error:
        find_dataset("brats-gil", tree(*BIDS_CASES))
    message = str(error.value)
    assert "'brats-gil'" in message and "Did you mean BraTS-GLI?" in message
    assert all(name in message for name in (*NAMES, "Mine"))


def test_a_known_dataset_that_is_not_there_is_an_error_that_says_where_from_and_where_to(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw"  # does not exist
    with pytest.raises(UsageError) as error:
        find_dataset("ixi", raw)
    assert "https://brain-development.org/ixi-dataset/" in str(error.value)
    assert "CC BY-SA" in str(error.value) and str(raw / "IXI") in str(error.value)


def test_a_known_folder_without_a_case_is_an_error_that_says_what_is_expected(tree: Tree) -> None:
    raw = tree("IXI/download/IXI-T1.tar", "MSLUB/longitudinal/patient01/T1W.nii.gz")
    with pytest.raises(InputError, match=r"such as IXI002-Guys-0828-T1.*Unpack download/IXI-T1"):
        find_dataset("IXI", raw)
    with pytest.raises(InputError, match=r"not searched.*longitudinal \(20 other patients"):
        find_dataset("MSLUB", raw)


def test_an_unknown_folder_without_a_case_is_an_error_that_says_what_is_possible(
    tree: Tree,
) -> None:
    with pytest.raises(InputError, match=r"BIDS.*nnU-Net.*dal_record\.json"):
        find_dataset("Mine", tree("Mine/scan.nii.gz"))


def test_a_bids_folder_is_a_dataset(tree: Tree) -> None:
    raw = tree(*BIDS_CASES)
    dataset = find_dataset("mine", raw)
    assert (dataset.name, dataset.kind, dataset.record) == ("Mine", "bids", None)
    assert [case.case_id for case in dataset.cases] == ["sub-1", "sub-2"]


def test_an_nnunet_folder_is_a_dataset(tree: Tree) -> None:
    raw = tree("Dataset001_Mine/imagesTr/a_0000.nii.gz")
    (raw / "Dataset001_Mine" / "dataset.json").write_text('{"channel_names": {"0": "T1"}}')
    dataset = find_dataset("Dataset001_Mine", raw)
    assert dataset.kind == "nnunet" and [case.case_id for case in dataset.cases] == ["a"]


def test_a_known_dataset_converted_to_bids_is_read_without_the_records_claims(tree: Tree) -> None:
    raw = tree(*(name.replace("Mine", "ixi") for name in BIDS_CASES))
    dataset = find_dataset("IXI", raw)
    assert (dataset.name, dataset.kind, dataset.record) == ("IXI", "bids", None)
    assert dataset.cases[0].claims.stripped is None and dataset.cases[0].dataset == "IXI"


def test_a_record_of_ones_own_comes_first(tree: Tree) -> None:
    raw = tree("Clinic/patient01/T1W.nii.gz", "Clinic/patient01/consensus_gt.nii.gz")
    own_record(raw / "Clinic")
    dataset = find_dataset("clinic", raw)
    assert (dataset.name, dataset.kind) == ("Clinic", "record")
    assert dataset.cases[0].lesion_mask is not None


def test_a_record_of_ones_own_replaces_ours(tree: Tree) -> None:
    raw = tree("IXI/patient01/T1W.nii.gz", *IXI_CASE)
    own_record(raw / "IXI")
    assert [case.case_id for case in find_dataset("IXI", raw).cases] == ["patient01"]


def test_a_record_of_another_name_is_an_error_that_gives_both(tree: Tree) -> None:
    raw = tree("Clinic/patient01/T1W.nii.gz")
    own_record(raw / "Clinic", name="Hospital")
    with pytest.raises(InputError, match=r"Hospital.*Clinic"):
        find_dataset("Clinic", raw)


@pytest.mark.parametrize(
    ("maker", "simulated"), [("dal_auto simulate", True), ("fMRIPrep", False), ("", False)]
)
def test_simulated_datasets_say_so(tree: Tree, maker: str, simulated: bool) -> None:
    raw = tree(*BIDS_CASES)
    describe(raw / "Mine", maker)
    assert find_dataset("Mine", raw).simulated is simulated


def test_the_root_is_named_also_where_it_does_not_exist(tmp_path: Path) -> None:
    assert dataset_root("brats-gli", tmp_path) == tmp_path / "BraTS-GLI"
    assert dataset_root("Mine", tmp_path) == tmp_path / "Mine"


def test_what_lies_on_disk_is_listed_without_what_is_no_dataset(tree: Tree) -> None:
    raw = tree(*BIDS_CASES, *IXI_CASE, "downloads/archive.tar", ".cache/x", "readme.txt")
    assert datasets_on_disk(raw) == ["IXI", "Mine"]
    assert datasets_on_disk(raw / "nowhere") == []


def test_a_dataset_s_own_record_says_whether_it_holds_lesions(tmp_path: Path) -> None:
    (tmp_path / "Clinic").mkdir()
    (tmp_path / "IXI").mkdir()
    own_record(tmp_path / "Clinic", role="test", title="Ours")
    clinic = record_of("clinic", tmp_path)
    assert clinic is not None and (clinic.role, clinic.title) == ("test", "Ours")
    ixi = record_of("ixi", tmp_path)
    assert ixi is not None and ixi.role == "training"
    own_record(tmp_path / "IXI", role="test")
    assert record_of("IXI", tmp_path).role == "test", "its own goes before ours"
    assert record_of("nobody knows", tmp_path) is None
