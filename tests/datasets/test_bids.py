"""BIDS folders → cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dal_auto.datasets.bids import find_cases, is_bids
from dal_auto.errors import InputError

Tree = Callable[..., Path]


def test_recognised_by_its_description_or_by_two_subjects(tree: Tree) -> None:
    root = tree("sub-01/anat/sub-01_T1w.nii.gz")
    assert not is_bids(root)
    assert is_bids(tree("sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz"))


def test_one_described_subject_is_enough_but_a_description_alone_is_not(tree: Tree) -> None:
    root = tree("dataset_description.json")
    assert not is_bids(root)
    assert is_bids(tree("sub-01/anat/sub-01_T1w.nii.gz"))


def test_two_sessions_of_one_subject_do_not_make_a_dataset(tree: Tree) -> None:
    assert not is_bids(tree(*(f"sub-01/ses-{s}/anat/sub-01_ses-{s}_T1w.nii" for s in "12")))


def test_each_session_is_a_case_of_one_patient(tree: Tree) -> None:
    root = tree(
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
    )
    cases = find_cases(root, "Mine")
    assert [(c.case_id, c.patient_id, list(c.sequences)) for c in cases] == [
        ("sub-01_ses-1", "sub-01", ["T1", "T2"]),
        ("sub-01_ses-2", "sub-01", ["T1"]),
        ("sub-02", "sub-02", ["FLAIR"]),
    ]
    assert {case.dataset for case in cases} == {"Mine"}


@pytest.mark.parametrize(
    "name",
    ["sub-01_ce-gadolinium_T1w", "sub-01_T2star", "sub-01_inplaneT2", "sub-01_T1map", "T1w",
     "._sub-01_T1w", "notes_T1w"],
)  # fmt: skip
def test_other_images_are_not_taken(tree: Tree, name: str) -> None:
    assert find_cases(tree(f"sub-01/anat/{name}.nii.gz"), "Mine") == []


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["run-10", "run-2"], "run-2"),
        (["acq-fast_run-1", "run-2"], "run-2"),
        (["acq-fast", ""], ""),
        (["rec-norm", ""], ""),
    ],
)
def test_of_several_images_the_plainest_and_first_is_taken_and_the_rest_named(
    tree: Tree, caplog: pytest.LogCaptureFixture, names: list[str], taken: str
) -> None:
    files = {n: "_".join(filter(None, ("sub-01", n, "T1w"))) + ".nii.gz" for n in names}
    root = tree(*(f"sub-01/anat/{file}" for file in files.values()))
    (case,) = find_cases(root, "Mine")
    assert case.sequences["T1"].name == files[taken]
    for name in set(names) - {taken}:
        assert files[name] in caplog.text


@pytest.mark.parametrize(
    "name", ["label-lesion_mask", "desc-lesion_mask", "label-L_desc-T1lesion_mask",
             "desc-tumor_dseg", "space-T1w_label-lesion_mask"],
)  # fmt: skip
def test_lesion_masks_come_from_the_derivatives(tree: Tree, name: str) -> None:
    root = tree(
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        f"derivatives/lesions/sub-01/ses-1/anat/sub-01_ses-1_{name}.nii.gz",
    )
    first, second = find_cases(root, "Mine")
    assert first.lesion_mask is not None and first.lesion_mask.name.endswith(f"{name}.nii.gz")
    assert second.lesion_mask is None and first.brain_mask is None


@pytest.mark.parametrize(
    "path",
    [
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-01/sub-01_label-lesion_mask.nii.gz",
    ],
)
def test_lesion_masks_beside_the_images_or_without_the_level_anat_are_found(
    tree: Tree, path: str
) -> None:
    """Unseen, they would make a patient a healthy training case."""
    root = tree("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz", path)
    first, second = find_cases(root, "Mine")
    assert first.lesion_mask == root / path and second.lesion_mask is None


def test_a_brain_mask_is_never_a_lesion(tree: Tree) -> None:
    mask = "derivatives/fmriprep/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    root = tree("sub-01/anat/sub-01_T1w.nii.gz", mask,
                "derivatives/fmriprep/sub-01/anat/sub-01_space-MNI_desc-brain_mask.nii.gz",
                "derivatives/fmriprep/sub-01/anat/sub-01_dseg.nii.gz")  # fmt: skip
    (case,) = find_cases(root, "Mine")
    assert case.lesion_mask is None and case.brain_mask == root / mask


def test_a_mask_on_a_templates_grid_is_left_out_and_named(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    name = "sub-01_space-MNI152NLin2009cAsym_label-lesion_mask.nii.gz"
    root = tree("sub-01/anat/sub-01_T1w.nii.gz", f"derivatives/lesions/sub-01/anat/{name}")
    (case,) = find_cases(root, "Mine")
    assert case.lesion_mask is None and name in caplog.text


def test_masks_of_two_pipelines_are_an_error_that_names_both(tree: Tree) -> None:
    mask = "sub-01/anat/sub-01_label-lesion_mask.nii.gz"
    root = tree("sub-01/anat/sub-01_T1w.nii.gz", f"derivatives/a/{mask}", f"derivatives/b/{mask}")
    with pytest.raises(InputError, match=r"derivatives/b/.*derivatives/a/"):
        find_cases(root, "Mine")
    (case,) = find_cases(root, "Mine", lesions=False)
    assert case.lesion_mask is None
