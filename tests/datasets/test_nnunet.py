"""nnU-Net's raw folders → cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dal_auto.datasets import folder
from dal_auto.datasets.nnunet import find_cases, is_nnunet
from dal_auto.errors import InputError

Tree = Callable[..., Path]
V2: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FILES = (
    "imagesTr/case_1_0000.nii.gz",
    "imagesTr/case_1_0001.nii.gz",
    "imagesTr/case_2024_0000.nii.gz",
    "labelsTr/case_1.nii.gz",
    "imagesTs/case_9_0000.nii.gz",
)


def dataset(tree: Tree, files: tuple[str, ...] = FILES, **changes: object) -> Path:
    root = tree(*files)
    content = {key: value for key, value in (V2 | changes).items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_recognised_by_its_description_and_images(tree: Tree) -> None:
    assert not is_nnunet(tree(*FILES))
    assert is_nnunet(dataset(tree))


def test_training_cases_with_their_masks_whose_ids_may_end_in_digits(tree: Tree) -> None:
    root = dataset(tree)
    first, second = find_cases(root, "Mine")
    assert (first.case_id, first.patient_id, first.dataset) == ("case_1", "case_1", "Mine")
    assert {s: p.name for s, p in first.sequences.items()} == {
        "T1": "case_1_0000.nii.gz", "T2": "case_1_0001.nii.gz",
    }  # fmt: skip
    assert first.lesion_mask == root / "labelsTr/case_1.nii.gz"
    assert first.claims.coregistered is True and first.claims.stripped is None
    assert (second.case_id, list(second.sequences)) == ("case_2024", ["T1"])
    assert second.lesion_mask is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"0": "T1w", "1": "T2w"}, {"T1": "0000", "T2": "0001"}),
        ({"0": "t2w", "1": "t1n"}, {"T1": "0001", "T2": "0000"}),
        ({"0": "T1Gd", "1": "T1"}, {"T1": "0001"}),
        ({"0": "t1ce", "1": "T2"}, {"T2": "0001"}),
        ({"0": "T2f", "1": "T1N"}, {"T1": "0001", "FLAIR": "0000"}),
        ({"0": "FLAIR", "1": "DWI"}, {"FLAIR": "0000"}),
    ],
)
def test_channels_are_known_by_name_and_never_contrast_enhanced(
    tree: Tree, names: dict[str, str], expected: dict[str, str]
) -> None:
    case = find_cases(dataset(tree, channel_names=names), "Mine")[0]
    assert {s: p.name[len("case_1_") :][:4] for s, p in case.sequences.items()} == expected


def test_version_1_is_read_as_well(tree: Tree) -> None:
    root = dataset(
        tree, channel_names=None, file_ending=None, modality={"0": "T2", "1": "T1"},
        labels={"0": "background", "1": "lesion"},
    )  # fmt: skip
    assert find_cases(root, "Mine")[0].sequences["T1"].name == "case_1_0001.nii.gz"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channel_names": {"0": "CT"}}, "CT"),
        ({"channel_names": {"0": "t1c", "1": "DWI"}}, "t1c"),
        ({"channel_names": {"0": "T1", "1": "T1w"}}, "T1w"),
        ({"channel_names": None}, "channel_names"),
        ({"channel_names": ["T1", "T2"]}, "channel_names"),
        ({"file_ending": ".mhd"}, ".mhd"),
        ({"dataset": {"a": {"image": "a.nii.gz"}}}, "dataset"),
        ({"dataset": ["a"]}, "dataset"),
        ({"labels": {"background": 0, "lesion": 1, "ignore": 2}}, "ignore"),
        ({"labels": {"0": "background", "2": "ignore"}}, "ignore"),
    ],
)
def test_what_cannot_be_read_rightly_is_an_error_that_names_it(
    tree: Tree, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError) as error:
        find_cases(dataset(tree, **changes), "Mine")
    assert said in str(error.value) and "dataset.json" in str(error.value)


def test_labels_do_not_matter_where_no_masks_are_wanted(tree: Tree) -> None:
    root = dataset(tree, labels={"background": 0, "lesion": 1, "ignore": 2})
    cases = find_cases(root, "Mine", lesions=False)
    assert [case.case_id for case in cases] == ["case_1", "case_2024"]
    assert not any(case.lesion_mask for case in cases)


def test_a_broken_description_is_an_error_that_names_it(tree: Tree) -> None:
    root = tree(*FILES)
    (root / "dataset.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset\.json"):
        find_cases(root, "Mine")


@pytest.mark.parametrize("listed", [False, True])
def test_a_description_with_a_byte_order_mark_is_read_as_without(tree: Tree, listed: bool) -> None:
    """As PowerShell and older editors on Windows write it."""
    changes = {"dataset": {"a": {"images": ["imagesTr/case_1_0000.nii.gz"]}}} if listed else {}
    root = dataset(tree, **changes)
    wanted = find_cases(root, "Mine")
    description = root / "dataset.json"
    description.write_bytes(b"\xef\xbb\xbf" + description.read_bytes())
    assert is_nnunet(root)
    assert find_cases(root, "Mine") == wanted and wanted


def test_four_dimensional_images_are_to_be_split(tree: Tree) -> None:
    with pytest.raises(InputError, match=r"BRATS_001.*4-D"):
        find_cases(dataset(tree, files=("imagesTr/BRATS_001.nii.gz",)), "Mine")


def test_other_endings_are_found(tree: Tree) -> None:
    root = dataset(tree, files=("imagesTr/a_0000.nrrd", "labelsTr/a.nrrd"), file_ending=".nrrd")
    (case,) = find_cases(root, "Mine")
    assert case.sequences["T1"].suffix == ".nrrd" and case.lesion_mask is not None


def test_files_that_the_description_lists_are_taken_from_where_they_are(tree: Tree) -> None:
    root = dataset(
        tree,
        files=("elsewhere/scan t1.nii.gz",),
        dataset={
            "a": {"images": ["elsewhere/scan t1.nii.gz", "b/t2.nii.gz"], "label": "m.nii.gz"},
            "b": {"images": ["b/t1.nii.gz"]},
        },
    )
    assert is_nnunet(root)  # without imagesTr
    first, second = find_cases(root, "Mine")
    assert (first.case_id, second.case_id) == ("a", "b")
    assert first.sequences["T1"] == root / "elsewhere/scan t1.nii.gz"
    assert first.sequences["T2"] == root / "b/t2.nii.gz"
    assert first.lesion_mask == root / "m.nii.gz" and second.lesion_mask is None
    assert list(second.sequences) == ["T1"]


def test_the_test_images_have_the_channels_that_the_dataset_names(tree: Tree, caplog) -> None:
    """As in the Medical Segmentation Decathlon: FLAIR comes first, T1 with contrast is left out."""
    files = [f"imagesTs/case_9_{n:04d}.nii.gz" for n in range(4)]
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    root = dataset(tree, ("imagesTr/case_1_0000.nii.gz", *files), channel_names=names)
    (case,) = folder.find_cases(root / "imagesTs")
    assert {name: path.name for name, path in case.sequences.items()} == {
        "FLAIR": "case_9_0000.nii.gz",
        "T1": "case_9_0001.nii.gz",
        "T2": "case_9_0003.nii.gz",
    }
    assert "numbers are read as" not in caplog.text
    alone = folder.case_of_file(root / "imagesTs" / "case_9_0003.nii.gz")
    assert list(alone.sequences) == ["T2"], "one of its files has the same name for its channel"
