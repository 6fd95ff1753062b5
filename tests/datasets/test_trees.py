"""Every known dataset as it is downloaded: ids, pairs, masks, claims, patients, oddities."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.registry import Dataset, find_dataset, load_records
from dal_auto.errors import InputError

Read = Callable[[str], Dataset]
BRATS_CLAIMS = ClaimedState(True, True, False, True)


@pytest.fixture
def read(tmp_path: Path, miniature: ModuleType, caplog: pytest.LogCaptureFixture) -> Read:
    """Write a miniature tree, and find the dataset in it."""

    def written(name: str) -> Dataset:
        raw, dataset = tmp_path / "raw", name.split(":")[0]
        miniature.write_tree(name, raw / dataset)
        with caplog.at_level(logging.WARNING):
            return find_dataset(dataset, raw)

    return written


def by_id(dataset: Dataset) -> dict[str, RawCase]:
    return {case.case_id: case for case in dataset.cases}


def files(case: RawCase) -> list[str]:
    found = [*case.sequences.values(), case.lesion_mask, case.brain_mask]
    return [path.name for path in found if path is not None]


def claims(dataset: Dataset) -> ClaimedState:
    (claim,) = {case.claims for case in dataset.cases}
    return claim


def layout(dataset: Dataset) -> str:
    assert dataset.found is not None
    return dataset.found.layout.id


def test_every_record_has_a_miniature(miniature: ModuleType) -> None:
    assert {name.split(":")[0] for name in miniature.TREES} == set(load_records())


def test_ixi(read: Read) -> None:
    dataset = read("IXI")
    cases = by_id(dataset)
    assert {case_id: list(case.sequences) for case_id, case in cases.items()} == {
        "IXI002-Guys-0828": ["T1", "T2"],
        "IXI012-HH-1211": ["T1", "T2"],
        "IXI014-HH-1236": ["T1", "T2"],
        "IXI116-Guys-0739": ["T1"],
        "IXI580-IOP-1157": ["T2"],
    }
    assert files(cases["IXI012-HH-1211"]) == [
        "IXI012-HH-1211-T1.nii.gz",
        "IXI012-HH-1211-T2.nii.gz",
    ]
    assert cases["IXI012-HH-1211"].patient_id == "IXI012"
    assert claims(dataset) == ClaimedState(False, False, False, False)
    assert dataset.found is not None and dataset.found.subsets["IXI580-IOP-1157"] == "IOP"
    record = load_records()["IXI"]
    assert set(record.known) > {"IXI014-HH-1236"} and record.expected.pairs == 577
    assert record.expected.lacking["T2"][0] == "IXI116-Guys-0739"


def test_hcp_takes_the_restored_pair_and_nothing_from_mninonlinear(read: Read) -> None:
    dataset = read("HCP")
    case = by_id(dataset)["100307"]
    names = ["T1w_acpc_dc_restore.nii.gz", "T2w_acpc_dc_restore.nii.gz", "brainmask_fs.nii.gz"]
    assert list(by_id(dataset)) == ["100307", "100408"] and files(case) == names
    assert claims(dataset) == ClaimedState(False, False, True, True)


def test_hcp_unprocessed_takes_the_first_runs(read: Read) -> None:
    dataset = read("HCP:unprocessed")
    case = by_id(dataset)["100307"]
    assert files(case) == ["100307_3T_T1w_MPR1.nii.gz", "100307_3T_T2w_SPC1.nii.gz"]
    assert claims(dataset) == ClaimedState(False, False, False, False)


def test_hcp_flat_copies_are_read_too(tree: Callable[..., Path]) -> None:
    names = ("T1w_MPR1", "T1w_MPR2", "T2w_SPC1", "T2w_SPC2")
    raw = tree(*(f"HCP/100307_3T_{name}.nii.gz" for name in names))
    (case,) = find_dataset("HCP", raw).cases
    assert files(case) == ["100307_3T_T1w_MPR1.nii.gz", "100307_3T_T2w_SPC1.nii.gz"]


def test_hcp_never_pairs_a_corrected_with_an_uncorrected_image(tree: Callable[..., Path]) -> None:
    raw = tree(
        *(f"HCP/{c}/T1w/{n}w_acpc_dc.nii.gz" for c in ("100307", "100408") for n in ("T1", "T2")),
        "HCP/100307/T1w/T1w_acpc_dc_restore.nii.gz",
    )
    dataset = find_dataset("HCP", raw)
    assert layout(dataset) == "preprocessed-uncorrected"
    assert files(dataset.cases[0]) == ["T1w_acpc_dc.nii.gz", "T2w_acpc_dc.nii.gz"]
    assert claims(dataset).bias_corrected is False


def test_hcp_warped_to_mni_is_refused(read: Read) -> None:
    with pytest.raises(InputError, match=r"MNINonLinear \(warped non-linearly"):
        read("HCP:warped")


def test_brats_gli_2021_from_tcia_knows_the_collections(read: Read) -> None:
    dataset = read("BraTS-GLI")
    cases = by_id(dataset)
    assert dataset.found is not None and layout(dataset) == "2021"
    assert dataset.found.subsets == {
        "BraTS2021_00000": "UPENN-GBM",
        "BraTS2021_00014": "UCSF-PDGM",
        "BraTS2021_00495": "TCGA-GBM",
        "BraTS2021_01666": "new-not-previously-in-TCIA",
    }
    assert files(cases["BraTS2021_00014"]) == [
        f"BraTS2021_00014_{name}.nii.gz" for name in ("t1", "t2", "seg")
    ]
    assert claims(dataset) == BRATS_CLAIMS
    assert not dataset.patients_known  # the ids of 2021 do not tell them


def test_brats_gli_2021_knows_patients_by_the_mapping(
    tmp_path: Path, read: Read, miniature: ModuleType
) -> None:
    table = tmp_path / "raw" / "BraTS-GLI" / "BraTS2023_2017_GLI_Mapping.csv"
    miniature.touch(table, miniature.NAMES_2023.encode())
    dataset = read("BraTS-GLI")
    patients = {case.case_id: case.patient_id for case in dataset.cases}
    assert dataset.patients_known
    assert patients["BraTS2021_00014"] == patients["BraTS2021_00495"] == "BraTS-GLI-00008"
    assert patients["BraTS2021_00000"] == "BraTS-GLI-00000"


def test_brats_gli_2023(read: Read) -> None:
    dataset = read("BraTS-GLI:2023")
    assert [(case.case_id, case.patient_id) for case in dataset.cases] == [
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00008-000", "BraTS-GLI-00008"),
        ("BraTS-GLI-00008-001", "BraTS-GLI-00008"),
    ]
    assert claims(dataset) == BRATS_CLAIMS and dataset.patients_known


def test_brats_gli_2024_is_refused_by_its_ids(tree: Callable[..., Path]) -> None:
    raw = tree("BraTS-GLI/data/BraTS-GLI-00005-100/BraTS-GLI-00005-100-t1n.nii.gz")
    with pytest.raises(InputError, match=r"BraTS-GLI-00005-100.*post-treatment"):
        find_dataset("BraTS-GLI", raw)


def test_upenn_takes_baselines_with_the_better_mask_and_says_which(read: Read) -> None:
    dataset = read("UPenn-GBM")
    cases = by_id(dataset)
    assert list(cases) == ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11", "UPENN-GBM-00260_11"]
    assert dataset.found is not None and dataset.found.mask_quality == {
        "UPENN-GBM-00001_11": "expert",
        "UPENN-GBM-00002_11": "automated",
        "UPENN-GBM-00260_11": "automated",
    }
    assert files(cases["UPENN-GBM-00001_11"]) == [
        f"UPENN-GBM-00001_11_{name}.nii.gz" for name in ("T1", "T2", "segm")
    ]
    assert cases["UPENN-GBM-00260_11"].sequences["T1"].parent.name == "UPENN-GBM-00260_11"
    assert {path.parents[1].name for c in cases.values() for path in c.sequences.values()} == {
        "images_structural"
    }
    assert claims(dataset) == BRATS_CLAIMS
    assert cases["UPENN-GBM-00001_11"].patient_id == "UPENN-GBM-00001"


def test_upenn_with_skull_is_read_where_the_stripped_copy_is_missing(
    tmp_path: Path, read: Read
) -> None:
    read("UPenn-GBM")
    top = tmp_path / "raw" / "UPenn-GBM" / "UPENN-GBM" / "NIfTI-files"
    (top / "images_structural").rename(tmp_path / "elsewhere")
    dataset = find_dataset("UPenn-GBM", tmp_path / "raw")
    assert layout(dataset) == "nifti-unstripped" and claims(dataset).stripped is False
    assert files(dataset.cases[0]) == [
        f"UPENN-GBM-00001_11_{name}.nii.gz" for name in ("T1_unstripped", "T2_unstripped", "segm")
    ]


def test_ucsf_takes_the_corrected_pair_of_the_whole_set(read: Read) -> None:
    dataset = read("UCSF-PDGM")
    cases = by_id(dataset)
    assert [(case.case_id, case.patient_id) for case in dataset.cases] == [
        ("UCSF-PDGM-0004", "UCSF-PDGM-0004"),
        ("UCSF-PDGM-0433", "UCSF-PDGM-0433"),
        ("UCSF-PDGM-0433_FU007d", "UCSF-PDGM-0433"),
        ("UCSF-PDGM-0541", "UCSF-PDGM-0541"),
    ]
    names = ("T1_bias", "T2_bias", "tumor_segmentation", "brain_segmentation")
    follow_up = files(cases["UCSF-PDGM-0433_FU007d"])
    assert follow_up == [f"UCSF-PDGM-0315_{name}.nii.gz" for name in names]
    assert all(path.is_file() for path in cases["UCSF-PDGM-0541"].sequences.values())
    assert claims(dataset) == ClaimedState(True, None, True, True)


def test_ucsf_plain_pair_is_to_be_corrected(read: Read) -> None:
    dataset = read("UCSF-PDGM:plain")
    assert layout(dataset) == "plain" and claims(dataset).bias_corrected is False
    assert files(dataset.cases[0])[:2] == ["UCSF-PDGM-0004_T1.nii.gz", "UCSF-PDGM-0004_T2.nii.gz"]


def test_ucsf_one_corrected_case_does_not_decide_for_the_set(tree: Callable[..., Path]) -> None:
    def pair(case: str, suffix: str = "") -> list[str]:
        return [f"UCSF-PDGM/{case}_nifti/{case}_{n}{suffix}.nii.gz" for n in ("T1", "T2")]

    cases = [f"UCSF-PDGM-{number:04d}" for number in range(4, 8)]
    raw = tree(*(name for case in cases for name in pair(case)), *pair(cases[0], "_bias"))
    dataset = find_dataset("UCSF-PDGM", raw)
    assert layout(dataset) == "plain" and list(by_id(dataset)) == cases


def test_ucsf_follow_ups_of_early_releases_belong_to_their_patient(
    tree: Callable[..., Path],
) -> None:
    names = [f"UCSF-PDGM/UCSF-PDGM-{n}_nifti/UCSF-PDGM-{n}_T1.nii.gz" for n in ("0315", "0433")]
    dataset = find_dataset("UCSF-PDGM", tree(*names))
    assert [(case.case_id, case.patient_id) for case in dataset.cases] == [
        ("UCSF-PDGM-0315", "UCSF-PDGM-0433"),
        ("UCSF-PDGM-0433", "UCSF-PDGM-0433"),
    ]


def test_ssa_from_tcia_tells_gliomas_from_others(read: Read) -> None:
    dataset = read("BraTS-SSA")
    assert dataset.found is not None and dataset.found.subsets == {
        "BraTS-SSA-00002-000": "glioma",
        "BraTS-SSA-00007-000": "glioma",
        "BraTS-SSA-00010-000": "other",
    }
    assert claims(dataset) == ClaimedState(None, None, False, True)
    image = nib.load(by_id(dataset)["BraTS-SSA-00002-000"].sequences["T1"])
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S") and np.min(image.dataobj) == -118


def test_ssa_of_2023_has_no_parts(read: Read) -> None:
    dataset = read("BraTS-SSA:2023")
    assert dataset.found is not None and not dataset.found.subsets and len(dataset.cases) == 2


def test_ped_leaves_stripping_to_measurement(read: Read) -> None:
    dataset = read("BraTS-PED")
    assert len(dataset.cases) == 3 and claims(dataset) == ClaimedState(None, True, False, True)
    told = load_records()["BraTS-PED"].layouts[0].tolerated_labels
    assert "2024" in told["4"]


def test_men_takes_the_fixed_case_from_its_own_folder(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = read("BraTS-MEN")
    cases = by_id(dataset)
    ids = ["BraTS-MEN-00004-000", "BraTS-MEN-00008-000", "BraTS-MEN-00008-001"]
    assert list(cases) == ids
    fixed = {i for i, c in cases.items() if "FIX-V4" in str(c.sequences["T1"])}
    assert fixed == {"BraTS-MEN-00008-000"}
    assert cases[ids[1]].lesion_mask and "FIX-V4" in str(cases[ids[1]].lesion_mask)
    assert cases[ids[1]].patient_id == cases[ids[2]].patient_id == "BraTS-MEN-00008"
    assert claims(dataset) == BRATS_CLAIMS
    assert "1 corrected cases; 47 were expected" in caplog.text


def test_met_joins_its_folders_and_leaves_out_the_broken_case(read: Read) -> None:
    dataset = read("BraTS-MET")
    assert list(by_id(dataset)) == ["BraTS-MET-00002-000", "BraTS-MET-00400-000"]
    assert dataset.found is not None and list(dataset.found.excluded) == ["BraTS-MET-00232-000"]
    assert claims(dataset) == BRATS_CLAIMS


def test_mslub_original_tree(read: Read) -> None:
    dataset = read("MSLUB")
    case = by_id(dataset)["patient01"]
    names = ("T1W", "T2W", "consensus_gt", "brainmask")
    assert files(case) == [f"patient01_{name}.nii.gz" for name in names]
    assert case.sequences["T1"].parent.name == "patient01"
    assert claims(dataset) == ClaimedState(False, False, True, True)


def test_mslub_mirror_tree(read: Read) -> None:
    dataset = read("MSLUB:mirror")
    assert layout(dataset) == "coregistered" and len(dataset.cases) == 2
    assert {c.sequences["T1"].parents[1].name for c in dataset.cases} == {"coregistered"}


def test_mslub_raw_alone_is_read_as_such(read: Read) -> None:
    """Whether the mask fits is measured: see the test of the checks."""
    dataset = read("MSLUB:raw")
    assert layout(dataset) == "raw" and claims(dataset).coregistered is False
    case = dataset.cases[0]
    assert case.lesion_mask is not None and case.brain_mask is None
    grids = {nib.load(path).shape for path in (case.sequences["T1"], case.lesion_mask)}
    assert len(grids) == 2


@pytest.mark.parametrize("name", ["ATLAS", "ATLAS:bids"])
def test_atlas_has_t1_only_of_the_training_part(read: Read, name: str) -> None:
    dataset = read(name)
    cases = by_id(dataset)
    assert "sub-r001s001" in cases and "sub-r002s001" not in cases
    assert all(list(case.sequences) == ["T1"] and case.lesion_mask for case in cases.values())
    assert claims(dataset) == ClaimedState(False, False, None, True)
    if name == "ATLAS":
        assert files(cases["sub-r040s043"])[0].endswith("_T1w.nii")
