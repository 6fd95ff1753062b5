"""Records → cases, on miniature trees with true names."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dal_auto.case import ClaimedState, RawCase
from dal_auto.datasets.registry import load_records
from dal_auto.datasets.search import find_cases
from dal_auto.errors import InputError

Tree = Callable[..., Path]
TEST_DATA = Path(
    os.environ.get("DAL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def found(name: str, root: Path) -> dict[str, RawCase]:
    cases = find_cases(load_records()[name], root)
    assert [case.case_id for case in cases] == sorted(case.case_id for case in cases)
    assert all(case.dataset == name for case in cases)
    return {case.case_id: case for case in cases}


def names(case: RawCase) -> dict[str, str]:
    return {sequence: path.name for sequence, path in case.sequences.items()}


def brats_2023(case: str, ending: str = ".nii.gz") -> list[str]:
    return [f"{case}/{case}-{part}{ending}" for part in ("t1n", "t1c", "t2w", "t2f", "seg")]


def brats_2021(case: str) -> list[str]:
    return [f"{case}/{case}_{part}.nii.gz" for part in ("t1", "t1ce", "t2", "flair", "seg")]


# --- IXI


def test_ixi_pairs_by_id_whichever_folders_hold_the_files(tree: Tree) -> None:
    root = tree(
        "IXI-T1/IXI002-Guys-0828-T1.nii.gz",
        "IXI-T2/IXI002-Guys-0828-T2.nii.gz",
        "IXI-PD/IXI002-Guys-0828-PD.nii.gz",
        "IXI012-HH-1211-T1.nii",
        "IXI012-HH-1211-T2.nii",
    )
    cases = found("IXI", root)
    assert list(cases) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
    case = cases["IXI002-Guys-0828"]
    assert case.patient_id == "IXI002"
    assert names(case) == {"T1": "IXI002-Guys-0828-T1.nii.gz", "T2": "IXI002-Guys-0828-T2.nii.gz"}
    assert case.claims == ClaimedState(False, False, False, False)


def test_a_case_without_one_sequence_comes_with_what_it_has(tree: Tree) -> None:
    root = tree("IXI116-Guys-0739-T1.nii.gz", "IXI580-IOP-1157-T2.nii.gz")
    cases = found("IXI", root)
    assert set(cases["IXI116-Guys-0739"].sequences) == {"T1"}
    assert set(cases["IXI580-IOP-1157"].sequences) == {"T2"}


def test_the_same_scan_in_two_folders_is_an_error_that_names_both(tree: Tree) -> None:
    root = tree("T1/IXI002-Guys-0828-T1.nii.gz", "copy/IXI002-Guys-0828-T1.nii.gz")
    with pytest.raises(InputError) as error:
        found("IXI", root)
    assert "T1/IXI002" in str(error.value) and "copy/IXI002" in str(error.value)


@pytest.mark.parametrize(
    "junk", ["._IXI002-Guys-0828-T1.nii.gz", "__MACOSX/IXI002-Guys-0828-T1.nii.gz",
             ".hidden/IXI002-Guys-0828-T1.nii.gz", "IXI002-Guys-0828-T1.nii.gz.partial"],
)  # fmt: skip
def test_leftovers_are_no_cases(tree: Tree, junk: str) -> None:
    assert found("IXI", tree(junk)) == {}


# --- BraTS


def test_brats_2021_is_found_at_any_depth_with_the_native_t1(tree: Tree) -> None:
    root = tree(
        *brats_2021("BraTS2021_00014"),
        *("TrainingSet/UPENN-GBM/" + name for name in brats_2021("BraTS2021_00000")),
    )
    cases = found("BraTS-GLI", root)
    assert list(cases) == ["BraTS2021_00000", "BraTS2021_00014"]
    case = cases["BraTS2021_00000"]
    assert names(case) == {"T1": "BraTS2021_00000_t1.nii.gz", "T2": "BraTS2021_00000_t2.nii.gz"}
    assert case.lesion_mask is not None and case.lesion_mask.name == "BraTS2021_00000_seg.nii.gz"
    assert case.claims == ClaimedState(True, True, False, True)


def test_contrast_enhanced_t1_is_never_taken_for_t1(tree: Tree) -> None:
    root = tree("BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz",
                "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz")  # fmt: skip
    assert found("BraTS-GLI", root) == {}


def test_brats_2023_time_points_of_one_patient_are_two_cases(tree: Tree) -> None:
    root = tree(*brats_2023("BraTS-GLI-00008-000"), *brats_2023("BraTS-GLI-00008-001", ".nii"))
    cases = found("BraTS-GLI", root)
    assert {case.patient_id for case in cases.values()} == {"BraTS-GLI-00008"}
    assert names(cases["BraTS-GLI-00008-001"])["T2"] == "BraTS-GLI-00008-001-t2w.nii"


def test_copies_in_both_namings_are_counted_once_and_named(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(*brats_2021("BraTS2021_00000"), *brats_2023("BraTS-GLI-00000-000"))
    assert list(found("BraTS-GLI", root)) == ["BraTS2021_00000"]
    assert "BraTS-GLI-00000-000" in caplog.text and "layout 2023" in caplog.text


def test_a_copy_inside_a_cases_folder_is_not_a_second_case(tree: Tree) -> None:
    case = "BraTS2021_00000"
    root = tree(*brats_2021(case), *(f"{case}/old/{name}" for name in brats_2021(case)))
    assert found("BraTS-GLI", root)[case].sequences["T1"].parent == root / case


def test_a_case_unpacked_into_a_folder_of_its_own_name_is_found(tree: Tree) -> None:
    case = "BraTS2021_00000"
    root = tree(*(f"{case}/{name}" for name in brats_2021(case)))
    assert found("BraTS-GLI", root)[case].sequences["T1"].parent == root / case / case


def test_validation_cases_are_not_searched(tree: Tree) -> None:
    root = tree("BraTS2021_ValidationData/BraTS2021_00001/BraTS2021_00001_t1.nii.gz")
    assert found("BraTS-GLI", root) == {}


def test_a_missing_mask_is_said(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree("BraTS2021_00001/BraTS2021_00001_t1.nii.gz", *brats_2021("BraTS2021_00000"))
    with caplog.at_level(logging.WARNING):
        cases = found("BraTS-GLI", root)
    assert cases["BraTS2021_00001"].lesion_mask is None
    assert "1 of 2 cases have no lesion mask" in caplog.text and "BraTS2021_00001" in caplog.text


def test_another_years_release_is_refused(tree: Tree) -> None:
    root = tree(*(f"BraTS2024-GLI/{name}" for name in brats_2023("BraTS-GLI-00005-100")))
    with pytest.raises(InputError, match="post-treatment"):
        found("BraTS-GLI", root)


def test_another_years_release_is_refused_behind_a_link(tree: Tree) -> None:
    root = tree(*(f"BraTS2024-GLI/{name}" for name in brats_2023("BraTS-GLI-00005-100")))
    link = root / "links" / "BraTS-GLI"
    link.parent.mkdir()
    link.symlink_to(root / "BraTS2024-GLI")
    with pytest.raises(InputError, match="post-treatment"):
        found("BraTS-GLI", link)


def test_a_case_folder_twice_is_an_error_that_names_both(tree: Tree) -> None:
    root = tree(*(f"{top}/{name}" for top in "ab" for name in brats_2021("BraTS2021_00495")))
    with pytest.raises(InputError) as error:
        found("BraTS-GLI", root)
    assert "a/BraTS2021_00495" in str(error.value) and "b/BraTS2021_00495" in str(error.value)


def test_meningioma_fixes_replace_and_do_not_add(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = "BraTS-MEN-00004-000", "BraTS-MEN-00008-000"
    root = tree(*(f"TrainingData/BraTS-MEN-Train/{n}" for c in (one, two) for n in brats_2023(c)))
    found("BraTS-MEN", root)
    assert "BraTS-MEN-TRAIN-FIX-V4" in caplog.text
    caplog.clear()
    tree(*(f"BraTS-MEN-TRAIN-FIX-V4/{name}" for name in brats_2023(two)))
    cases = found("BraTS-MEN", root)
    assert list(cases) == [one, two]
    assert "FIX-V4" not in str(cases[one].sequences["T1"])
    assert "FIX-V4" in str(cases[two].sequences["T1"])
    assert "has 1 corrected cases; 47 were expected" in caplog.text


def test_metastases_join_both_folders_without_the_broken_case(tree: Tree) -> None:
    root = tree(
        *(f"TrainingData/{name}" for name in brats_2023("BraTS-MET-00002-000")),
        *(f"TrainingData_Additional/{name}" for name in brats_2023("BraTS-MET-00400-000")),
        *(f"TrainingData/{name}" for name in brats_2023("BraTS-MET-00232-000")),
    )
    assert list(found("BraTS-MET", root)) == ["BraTS-MET-00002-000", "BraTS-MET-00400-000"]


def test_claims_in_conflict_are_left_to_measurement(tree: Tree) -> None:
    case = found("BraTS-SSA", tree(*brats_2023("BraTS-SSA-00002-000")))["BraTS-SSA-00002-000"]
    assert case.claims == ClaimedState(None, None, False, True)


# --- UPenn, UCSF


def test_upenn_takes_baselines_and_the_best_mask_of_neighbouring_folders(tree: Tree) -> None:
    top = "NIfTI-files"
    root = tree(
        *(f"{top}/images_structural/{c}/{c}_{s}.nii.gz"
          for c in ("UPENN-GBM-00001_11", "UPENN-GBM-00002_11", "UPENN-GBM-00001_21")
          for s in ("T1", "T1GD", "T2", "FLAIR")),
        f"{top}/images_structural/UPENN-GBM-00001_11/old/UPENN-GBM-00001_11_T1.nii.gz",
        f"{top}/images_structural_unstripped/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz",
        f"{top}/automated_segm/UPENN-GBM-00001_11_automated_approx_segm.nii.gz",
        f"{top}/automated_segm/UPENN-GBM-00002_11_automated_approx_segm.nii.gz",
        f"{top}/images_segm/UPENN-GBM-00001_11_segm.nii.gz",
    )  # fmt: skip
    cases = found("UPenn-GBM", root)
    assert list(cases) == ["UPENN-GBM-00001_11", "UPENN-GBM-00002_11"]
    masks = [case.lesion_mask.parent.name for case in cases.values() if case.lesion_mask]
    assert masks == ["images_segm", "automated_segm"]
    assert names(cases["UPENN-GBM-00001_11"])["T1"] == "UPENN-GBM-00001_11_T1.nii.gz"


def test_ucsf_takes_one_pair_for_the_whole_set_and_claims_what_belongs_to_it(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    def files(case: str, prefix: str, *suffixes: str) -> list[str]:
        return [f"v5/{case}_nifti/{prefix}_{suffix}.nii.gz" for suffix in suffixes]

    masks = ("tumor_segmentation", "brain_segmentation", "brain_parenchyma_segmentation")
    plain = ("T1", "T1c", "T1c_bias", "T2", *masks)
    root = tree(*files("UCSF-PDGM-0433_FU007d", "UCSF-PDGM-0315", *plain))
    case = found("UCSF-PDGM", root)["UCSF-PDGM-0433_FU007d"]
    assert case.patient_id == "UCSF-PDGM-0433"
    assert names(case) == {"T1": "UCSF-PDGM-0315_T1.nii.gz", "T2": "UCSF-PDGM-0315_T2.nii.gz"}
    assert case.claims.bias_corrected is False
    tree(*files("UCSF-PDGM-0433_FU007d", "UCSF-PDGM-0315", "T1_bias", "T2_bias"))
    case = found("UCSF-PDGM", root)["UCSF-PDGM-0433_FU007d"]
    assert names(case)["T1"] == "UCSF-PDGM-0315_T1_bias.nii.gz"
    assert case.claims.bias_corrected is True
    assert not caplog.text
    assert case.brain_mask is not None
    assert case.brain_mask.name == "UCSF-PDGM-0315_brain_segmentation.nii.gz"


def test_two_files_for_one_image_are_an_error_that_names_both(tree: Tree) -> None:
    folder = "UCSF-PDGM-0004_nifti"
    root = tree(f"{folder}/UCSF-PDGM-0004_T1.nii.gz", f"{folder}/UCSF-PDGM-0005_T1.nii.gz")
    with pytest.raises(InputError, match=r"0005_T1.*0004_T1"):
        found("UCSF-PDGM", root)


def test_an_image_wrapped_in_a_folder_of_its_name_is_found(tree: Tree) -> None:
    name = "UCSF-PDGM-0004_T1.nii"
    case = found("UCSF-PDGM", tree(f"UCSF-PDGM-0004_nifti/{name}/{name}"))["UCSF-PDGM-0004"]
    assert case.sequences["T1"].is_file()


# --- MSLUB, HCP, ATLAS


MSLUB_FILES = ("T1W", "T1WKS", "T2W", "FLAIR", "brainmask", "consensus_gt")


@pytest.mark.parametrize(
    ("top", "prefix"),
    [("3D_MR_MS", "patient01_"), ("cross_sectional/coregistered", ""),
     ("cross_sectional/coregistered", "patient01_")],
)  # fmt: skip
def test_mslub_reads_the_coregistered_images_of_each_tree(
    tree: Tree, top: str, prefix: str
) -> None:
    root = tree(
        *(f"{top}/patient01/{prefix}{name}.nii.gz" for name in MSLUB_FILES),
        *(f"{top}/patient01/raw/{prefix}{name}.nii.gz" for name in MSLUB_FILES),
        *(f"cross_sectional/{other}/patient01/{prefix}{name}.nii.gz" for name in MSLUB_FILES
          for other in ("raw", "MNI", "coregistered_resampled")),
        "longitudinal/patient20/patient20_T1W.nii.gz",
    )  # fmt: skip
    cases = found("MSLUB", root)
    assert list(cases) == ["patient01"]
    case = cases["patient01"]
    files = [*case.sequences.values(), case.lesion_mask, case.brain_mask]
    assert [f.name for f in files if f] == [
        f"{prefix}{n}.nii.gz" for n in ("T1W", "T2W", "consensus_gt", "brainmask")
    ]
    assert {f.parent for f in files if f} == {root / top / "patient01"}


def test_hcp_prefers_the_preprocessed_images_and_never_the_warped_ones(tree: Tree) -> None:
    raw = ("T1w_MPR1", "T1w_MPR2", "T2w_SPC1")
    root = tree(
        *(f"100307/unprocessed/3T/{n}/100307_3T_{n}.nii.gz" for n in raw),
        "100307/MNINonLinear/T1w_restore.nii.gz",
    )
    case = found("HCP", root)["100307"]
    assert names(case) == {"T1": "100307_3T_T1w_MPR1.nii.gz", "T2": "100307_3T_T2w_SPC1.nii.gz"}
    assert case.claims.coregistered is False
    files = ("T1w_acpc_dc_restore", "T1w_acpc_dc_restore_brain", "T2w_acpc_dc_restore")
    tree(*(f"100307/T1w/{n}.nii.gz" for n in (*files, "brainmask_fs")))
    case = found("HCP", root)["100307"]
    assert names(case) == {s: f"{s}w_acpc_dc_restore.nii.gz" for s in ("T1", "T2")}
    assert case.claims == ClaimedState(False, False, True, True)
    assert case.brain_mask == root / "100307/T1w/brainmask_fs.nii.gz"


@pytest.mark.parametrize("top", ["ATLAS_2/Training/R001", "train/derivatives/ATLAS"])
def test_atlas_has_t1_only_and_leaves_out_the_testing_part(tree: Tree, top: str) -> None:
    def stem(case: str) -> str:
        return f"{case}/ses-1/anat/{case}_ses-1_space-MNI152NLin2009aSym"

    case_id, other = "sub-r001s001", "sub-r002s001"
    root = tree(
        f"{top}/{stem(case_id)}_T1w.nii.gz",
        f"{top}/{stem(case_id)}_label-L_desc-T1lesion_mask.nii.gz",
        f"ATLAS_2/Testing/R002/{stem(other)}_T1w.nii.gz",
    )
    cases = found("ATLAS", root)
    assert list(cases) == [case_id]
    assert set(cases[case_id].sequences) == {"T1"} and cases[case_id].lesion_mask is not None


# --- the tree


def test_links_are_followed_and_loops_are_not(tree: Tree) -> None:
    root = tree(*(f"elsewhere/{name}" for name in brats_2021("BraTS2021_00000")))
    dataset = root / "BraTS-GLI"
    dataset.mkdir()
    (dataset / "BraTS2021_00000").symlink_to(root / "elsewhere" / "BraTS2021_00000")
    (dataset / "loop").symlink_to(dataset)
    case = found("BraTS-GLI", dataset)["BraTS2021_00000"]
    assert case.sequences["T1"].is_relative_to(dataset)


def test_real_brats_cases_are_found() -> None:
    root = TEST_DATA / "brats_gli"
    if not root.is_dir():
        pytest.skip(f"no {root}; set DAL_TEST_DATA")
    cases = found("BraTS-GLI", root)
    assert list(cases) == ["BraTS2021_00000", "BraTS2021_00014"]
    for case in cases.values():
        assert list(case.sequences) == ["T1", "T2"] and case.lesion_mask is not None
