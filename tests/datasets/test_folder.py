"""A flat folder of scans → cases, by the files' names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.datasets.filenames import ENDINGS, SYNONYMS, sequence_of
from dal_auto.datasets.folder import find_cases
from dal_auto.errors import InputError
from dal_auto.images import read_image

Tree = Callable[..., Path]
TEST_DATA = Path(
    os.environ.get("DAL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


@pytest.mark.parametrize(
    ("name", "case_id", "sequence"),
    [
        ("patient01_study1_T1W.nii.gz", "patient01_study1", "T1"),
        ("patient01_T2.nii", "patient01", "T2"),
        ("p_t1.nii.gz", "p", "T1"),
        ("p_T2w.nii.gz", "p", "T2"),
        ("IXI002-Guys-0828-T1.nii.gz", "IXI002-Guys-0828", "T1"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "BraTS-GLI-00000-000", "T1"),
        ("BraTS-GLI-00000-000-t2w.nii.gz", "BraTS-GLI-00000-000", "T2"),
        ("p_FLAIR.nii.gz", "p", "FLAIR"),
        ("p_t2f.nii.gz", "p", "FLAIR"),
        ("case_2024_0000.nii.gz", "case_2024", "T1"),
        ("case_0001.nii.gz", "case", "T2"),
        ("sub-01_ses-2_T1w.nii.gz", "sub-01_ses-2", "T1"),
        ("sub-01_acq-mprage_run-1_T1w.nii.gz", "sub-01", "T1"),
        ("sub-01_T1.nii.gz", "sub-01", "T1"),
        ("visit.2_T1.nii.gz", "visit.2", "T1"),
    ],
)
def test_names_tell_case_and_sequence(tree: Tree, name: str, case_id: str, sequence: str) -> None:
    root = tree(name)
    (case,) = find_cases(root)
    assert (case.case_id, dict(case.sequences)) == (case_id, {sequence: root / name})
    assert case.dataset == "folder" and case.lesion_mask is None


@pytest.mark.parametrize(
    "name",
    ["p_T1c", "p_T1GD", "p_T1ce", "p_T1WKS", "p_T1_bias", "p_seg", "p_lesion", "pT1", "p_0002",
     "p_00000", "sub-01_ce-gadolinium_T1w", "sub-01_T2star", "T1_p"],
)  # fmt: skip
def test_other_names_are_never_guessed_but_named_in_a_warning(
    tree: Tree, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (case,) = find_cases(tree("known_T1.nii.gz", f"{name}.nii.gz"))
    assert case.case_id == "known"
    assert f"{name}.nii.gz" in caplog.text and "known_T1" not in caplog.text


@given(st.text("T1t2wWcCgGdDeEnN_-", max_size=6))
def test_only_whole_words_of_the_table_are_sequences(word: str) -> None:
    assert (sequence_of(word) is not None) == (word.lower() in SYNONYMS)


def test_images_of_one_case_are_joined_and_cases_sorted(tree: Tree) -> None:
    cases = find_cases(
        tree("b_T1.nii.gz", "a_T2W.nii.gz", "a-T1.nii", "sub-1_T1w.nii", "sub-1_T2.nii")
    )
    assert [(case.case_id, list(case.sequences)) for case in cases] == [
        ("a", ["T1", "T2"]), ("b", ["T1"]), ("sub-1", ["T1", "T2"]),
    ]  # fmt: skip


def test_sessions_of_a_bids_subject_are_one_patient(tree: Tree) -> None:
    cases = find_cases(tree("sub-1_ses-1_T1w.nii.gz", "sub-1_ses-2_T1w.nii.gz", "x_y_T1.nii.gz"))
    assert [case.patient_id for case in cases] == ["sub-1", "sub-1", "x_y"]


def test_bare_sequence_names_are_one_case_called_like_the_folder(tree: Tree) -> None:
    root = tree("anna/T1W.nii.gz", "anna/T2W.nii.gz") / "anna"
    (case,) = find_cases(root)
    assert case.case_id == "anna" and set(case.sequences) == {"T1", "T2"}


def test_channel_numbers_are_read_with_a_warning_of_what_they_mean(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    (case,) = find_cases(tree("c_0000.nii.gz", "c_0001.nii.gz"))
    assert case.sequences["T2"].name == "c_0001.nii.gz"
    assert caplog.text.count("_0000 = T1") == 1


@pytest.mark.parametrize(
    "names", [("a_T1.nii.gz", "a_T1w.nii.gz"), ("a_T1.nii.gz", "a-t1.nii"),
              ("a_T1.nii", "a_T1.nii.gz"), ("a_T1.mgz", "a_T1.nrrd"),
              ("a_T1.nii.gz", "a_0000.nii.gz"),
              ("sub-1_T1w.nii.gz", "sub-1_T1.nii.gz")],
)  # fmt: skip
def test_two_files_for_one_sequence_of_a_case_are_an_error_that_names_both(
    tree: Tree, names: tuple[str, str]
) -> None:
    with pytest.raises(InputError) as error:
        find_cases(tree(*names))
    assert all(name in str(error.value) for name in names)


def test_a_given_sequence_makes_every_file_a_case(tree: Tree) -> None:
    root = tree("b.nii.gz", "a_T2.nii", "notes.txt", "._b.nii.gz")
    cases = find_cases(root, sequence="T1")
    assert [(case.case_id, list(case.sequences)) for case in cases] == [
        ("a_T2", ["T1"]), ("b", ["T1"]),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_found_by_its_ending(tree: Tree, ending: str) -> None:
    root = tree(f"an nä_T1{ending}", f"an nä_T2w{ending}")
    (case,) = find_cases(root)
    assert case.case_id == "an nä"
    assert {path.name for path in case.sequences.values()} == {
        f"an nä_T1{ending}", f"an nä_T2w{ending}",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a_T1.nhdr", "a_T1.mhd", "a_T1.hdr", "a_T1.img", "a_T1.dcm"])
def test_headers_without_their_voxels_are_no_images(tree: Tree, name: str) -> None:
    with pytest.raises(InputError, match="holds no image"):
        find_cases(tree(name))


def test_a_folder_that_wraps_its_image_stands_for_it(tree: Tree) -> None:
    (case,) = find_cases(tree("a_T1.nii/a_T1.nii"))
    assert case.sequences["T1"].parts[-2:] == ("a_T1.nii", "a_T1.nii")


def test_a_dangling_link_and_an_empty_wrapper_are_found_to_be_named_when_read(tree: Tree) -> None:
    root = tree("b_T1.nii/notes.txt")
    (root / "a_T1.nii.gz").symlink_to(root / "gone.nii.gz")
    cases = find_cases(root)
    assert [case.case_id for case in cases] == ["a", "b"]
    for case in cases:
        with pytest.raises(InputError, match=r"not there|a folder"):
            read_image(case.sequences["T1"])


def test_sub_folders_and_leftovers_are_not_searched(tree: Tree) -> None:
    root = tree("a_T1.nii.gz", "._c_T1.nii.gz", "__MACOSX/d_T1.nii.gz", "below/e_T1.nii.gz")
    assert [case.case_id for case in find_cases(root)] == ["a"]


def test_an_empty_folder_is_an_error_that_names_the_one_below_with_scans(tree: Tree) -> None:
    with pytest.raises(InputError, match=r"no image \(\.nii\.gz, .*below holds some"):
        find_cases(tree("below/a_T1.nii.gz"))


def test_nothing_recognised_is_an_error_that_says_how_to_name_files(tree: Tree) -> None:
    with pytest.raises(InputError, match=r"scan1\.nii\.gz.*_T1.*--sequence"):
        find_cases(tree("scan1.nii.gz", "scan2.nii.gz"))


def test_real_scans_with_skull_are_recognised() -> None:
    root = TEST_DATA / "mslub_raw"
    if not root.is_dir():
        pytest.skip(f"no {root}; set DAL_TEST_DATA")
    cases = find_cases(root)
    assert [case.case_id for case in cases] == [f"patient{n}_study1" for n in ("01", "04", "12")]
    assert all(set(case.sequences) == {"T1", "T2", "FLAIR"} for case in cases)
