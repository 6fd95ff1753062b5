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
    with pytest.raises(InputError, match="all 1 cases are left out"):
        find_cases(root, "Mine")
    assert name in caplog.text, "its patient is not healthy"
    (case,) = find_cases(root, "Mine", lesions=False)
    assert case.lesion_mask is None


@pytest.mark.parametrize(
    "mask",
    [
        "derivatives/x/sub-01/anat/sub-01_label-lesion_roi",
        "derivatives/x/sub-01/anat/sub-01_label-WMH_mask",
        "derivatives/x/sub-01/anat/sub-01_desc-stroke_mask",
        "derivatives/sub-01/anat/sub-01_label-lesion_mask",
        "derivatives/x/sub-01/anat/sub-01_label-lesion_mask",  # the images name a session
        "derivatives/x/sub-01/anat/sub-01_T1w_desc-lesion_mask",
        "sub-01/ses-1/anat/sub-01_ses-1_acq-sel_T1w_roi",
        "sub-01/ses-1/anat/sub-01_ses-1_run-1_label-lesion_mask",  # its image has no run
    ],
)
def test_lesion_masks_of_many_names_are_found(tree: Tree, mask: str) -> None:
    root = tree("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", f"{mask}.nii.gz")
    (case,) = find_cases(root, "Mine")
    assert case.lesion_mask == root / f"{mask}.nii.gz"


def test_what_has_no_mask_beside_others_and_what_is_no_cases_is_told(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    mask = "anat/sub-0{0}_label-lesion_mask.nii.gz"
    root = tree(
        *(f"sub-0{n}/anat/sub-0{n}_T1w.nii.gz" for n in (1, 2, 3)),
        f"derivatives/x/sub-01/{mask.format(1)}",
        f"derivatives/x/sub-07/{mask.format(7)}",
    )
    assert len(find_cases(root, "Mine")) == 3
    assert "2 of 3 cases have no lesion mask and count as healthy, such as sub-02" in caplog.text
    caplog.clear()
    find_cases(root, "Mine", lesions=False)
    assert not caplog.records


def test_masks_of_the_run_that_is_taken_count(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    """A second run is a head in another pose."""
    root = tree(
        *(f"sub-01/anat/sub-01_run-{n}_T1w.nii.gz" for n in (1, 2)),
        *(f"derivatives/x/sub-01/anat/sub-01_run-{n}_desc-brain_mask.nii.gz" for n in (2, 1)),
        "derivatives/x/sub-01/anat/sub-01_run-1_label-lesion_mask.nii.gz",
    )
    (case,) = find_cases(root, "Mine")
    assert case.brain_mask is not None and case.lesion_mask is not None
    assert {p.name.split("_")[1] for p in (case.brain_mask, case.lesion_mask)} == {"run-1"}
    case.lesion_mask.rename(case.lesion_mask.with_name("sub-01_run-2_label-lesion_mask.nii.gz"))
    with pytest.raises(InputError, match="all 1 cases"):
        find_cases(root, "Mine")


@pytest.mark.parametrize(
    "mask",
    [
        "derivatives/x/sub-01/anat/sub-01_label-lesion_mask",  # of which visit?
        "derivatives/x/sub-01/ses-2/anat/sub-01_ses-2_space-MNI_label-lesion_mask",
        "derivatives/x/sub-01/ses-3/anat/sub-01_ses-3_label-lesion_mask",
    ],
)
def test_who_has_a_lesion_mask_that_no_case_can_use_is_not_healthy(
    tree: Tree, caplog: pytest.LogCaptureFixture, mask: str
) -> None:
    visits = [f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii" for n in (1, 2)]
    root = tree(*visits, "sub-02/anat/sub-02_T1w.nii", f"{mask}.nii")
    assert [case.case_id for case in find_cases(root, "Mine")] == ["sub-02"]
    assert f"sub-01_ses-1, sub-01_ses-2 are left out: the lesion mask {root / mask}" in caplog.text
    assert len(find_cases(root, "Mine", lesions=False)) == 3


def test_image_and_mask_on_one_template_go_together(tree: Tree) -> None:
    mask = "derivatives/x/sub-01/anat/sub-01_space-MNI_label-L_mask.nii"
    root = tree("sub-01/anat/sub-01_space-MNI_T1w.nii", mask)
    (case,) = find_cases(root, "Mine")
    assert case.lesion_mask == root / mask


def test_a_mask_by_a_program_gives_way_to_one_of_the_lesion(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"derivatives/x/sub-01/anat/sub-01_{n}_mask.nii" for n in ("desc-wmh", "label-L")]
    root = tree("sub-01/anat/sub-01_T1w.nii", *names)
    (case,) = find_cases(root, "Mine")
    assert case.lesion_mask == root / names[1]
    assert f"{root / names[1]} is taken, not {root / names[0]}" in caplog.text


def test_the_name_of_the_datasets_own_folder_tells_no_session(tree: Tree) -> None:
    root = tree("ses-1/sub-01/anat/sub-01_T1w.nii", "ses-1/sub-02/anat/sub-02_ses-2_T1w.nii")
    cases = find_cases(root / "ses-1", "Mine")
    assert [case.case_id for case in cases] == ["sub-01", "sub-02_ses-2"]


def test_of_several_brain_masks_the_plainest_is_taken(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("sub-01_acq-low_desc-brain_mask", "sub-01_desc-brain_mask")
    root = tree(
        "sub-01/anat/sub-01_T1w.nii", *(f"derivatives/x/sub-01/anat/{n}.nii" for n in names)
    )
    (case,) = find_cases(root, "Mine")
    assert case.brain_mask is not None and case.brain_mask.name == f"{names[1]}.nii"
    assert "1 cases have several brain masks; the plainest is taken" in caplog.text


def test_folders_tell_the_session_and_must_not_contradict_the_name(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(
        "sub-01/ses-1/anat/sub-01_T1w.nii",
        "sub-01/ses-2/anat/sub-01_T1w.nii",
        "sub-01/ses-2/anat/sub-01_FLAIR.nii",
        "sub-03/anat/sub-03_T1w.nii",
        "sub-03/anat/sub-02_T1w.nii",
        "sub-03/ses-1/anat/sub-03_ses-2_T1w.nii",
    )
    cases = {case.case_id: sorted(case.sequences) for case in find_cases(root, "Mine")}
    assert cases == {
        "sub-01_ses-1": ["T1"],
        "sub-01_ses-2": ["FLAIR", "T1"],
        "sub-03": ["T1"],
    }
    assert "sub-02_T1w.nii is left out: its name says sub-02, and it lies in sub-03" in caplog.text
    assert "its name says ses-2, and it lies in ses-1" in caplog.text


def test_an_echo_or_a_phase_image_is_not_preferred(tree: Tree) -> None:
    names = ("run-1_T2w", "part-phase_T2w", "echo-2_T2w")
    root = tree(*(f"sub-01/anat/sub-01_{name}.nii" for name in names))
    (case,) = find_cases(root, "Mine")
    assert case.sequences["T2"].name == "sub-01_run-1_T2w.nii"


def test_masks_of_two_pipelines_are_an_error_that_names_both(tree: Tree) -> None:
    mask = "sub-01/anat/sub-01_label-lesion_mask.nii.gz"
    root = tree("sub-01/anat/sub-01_T1w.nii.gz", f"derivatives/a/{mask}", f"derivatives/b/{mask}")
    with pytest.raises(InputError, match=r"derivatives/b/.*derivatives/a/"):
        find_cases(root, "Mine")
    (case,) = find_cases(root, "Mine", lesions=False)
    assert case.lesion_mask is None
