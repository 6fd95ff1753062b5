"""A JSON or CSV list → cases; whatever is wrong is named with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dal_auto.case import ClaimedState
from dal_auto.datasets.case_list import find_cases, is_list
from dal_auto.errors import InputError

Tree = Callable[..., Path]


def as_json(root: Path, content: Any) -> Path:
    path = root / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def as_csv(root: Path, text: str) -> Path:
    path = root / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_as_spreadsheets_save_it(tree: Tree, separator: str, mark: str) -> None:
    root = tree("x/a one.nii.gz", "a2.nii", "b.mgz")
    lines = [["case", "T1", "T2w", "patient"], ["a", "x/a one.nii.gz", "a2.nii", "p"]]
    lines += [["b", "", "b.mgz", ""]]
    path = as_csv(root, mark + "\r\n".join(separator.join(line) for line in lines) + "\r\n\r\n")
    a, b = find_cases(path)
    assert (a.case_id, a.patient_id) == ("a", "p") and (b.case_id, b.patient_id) == ("b", "b")
    assert a.sequences == {"T1": root / "x/a one.nii.gz", "T2": root / "a2.nii"}
    assert b.sequences == {"T2": root / "b.mgz"}
    assert a.claims == ClaimedState() and a.brain_mask is None and a.lesion_mask is None


def test_a_json_list_with_masks_and_claims(tree: Tree) -> None:
    root = tree("a.nii.gz", "brain.nii.gz")
    entry = {"case": 7, "t1w": "a.nii.gz", "brain_mask": "brain.nii.gz", "stripped": False,
             "bias_corrected": "yes"}  # fmt: skip
    for content in ([entry], {"cases": [entry]}):
        (case,) = find_cases(as_json(root, content))
        assert case.case_id == "7" and case.brain_mask == root / "brain.nii.gz"
        assert case.claims == ClaimedState(stripped=False, bias_corrected=True)


def test_an_absolute_path_stays_one(tree: Tree) -> None:
    root = tree("a_T1.nii.gz")
    path = as_json(root, [{"case": "a", "T1": str(root / "a_T1.nii.gz")}])
    assert find_cases(path)[0].sequences["T1"] == root / "a_T1.nii.gz"


def test_monais_list_takes_the_sequences_from_the_files_names(tree: Tree) -> None:
    root = tree("s/a_t1.nii.gz", "s/a_t2.nii.gz", "s/b_T2w.nii.gz")
    content = {
        "training": [{"image": "s/never.nii.gz", "label": "s/x.nii.gz"}],
        "testing": [
            {"image": ["s/a_t1.nii.gz", "s/a_t2.nii.gz"], "label": "s/gone.nii.gz", "fold": 0},
            "s/b_T2w.nii.gz",
        ],
    }
    a, b = find_cases(as_json(root, content))
    assert (a.case_id, list(a.sequences)) == ("a", ["T1", "T2"])
    assert (b.case_id, list(b.sequences)) == ("b", ["T2"])


def test_the_only_channel_of_a_list_is_what_the_user_says(tree: Tree) -> None:
    root = tree("a.nii", "b_T2.nii")
    content = {"modality": {"0": "MRI"}, "training": [{"image": "a.nii"}, {"image": "b_T2.nii"}]}
    a, b = find_cases(as_json(root, content), sequence="T1")
    assert (list(a.sequences), list(b.sequences)) == (["T1"], ["T2"])


def test_monais_channels_are_named_by_the_list_and_others_left_out(tree: Tree) -> None:
    root = tree("a_0000.nii.gz", "a_0001.nii.gz", "a_0002.nii.gz")
    images = [f"a_000{n}.nii.gz" for n in range(3)]
    content = {"modality": {"0": "T2", "1": "t1gd", "2": "T1w"}, "test": [{"image": images}]}
    (case,) = find_cases(as_json(root, content))
    assert case.case_id == "a"
    assert {name: file.name for name, file in case.sequences.items()} == {
        "T1": "a_0002.nii.gz", "T2": "a_0000.nii.gz",
    }  # fmt: skip


def test_the_user_says_the_sequence_where_nothing_else_does(tree: Tree) -> None:
    path = as_json(tree("a.nii.gz"), [{"image": "a.nii.gz"}])
    with pytest.raises(InputError, match=r"entry 1: the sequence of a\.nii\.gz.*--sequence"):
        find_cases(path)
    assert list(find_cases(path, "T1")[0].sequences) == ["T1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("case,T1\na,a_T1.nii.gz\na,b_T1.nii.gz\n", "line 3: case a stands at line 2"),
        ("case,T1,T7\na,a_T1.nii.gz,x\n", "line 2: unknown column 'T7'"),
        ("case,T1,T2\na,,\n", "line 2: it has no image"),
        ("case,T1\na,a_T1.nii.gz\nb,gone.nii.gz\n", "1 of its files.*line 3: .*gone.nii.gz"),
        ("case,T1,t1w\na,a_T1.nii.gz,b_T1.nii.gz\n", "line 2: it has a second T1"),
        ("case,T1,stripped\na,a_T1.nii.gz,perhaps\n", "line 2: stripped is 'perhaps'"),
        ("case,T1\na,a_T1.nii.gz,more\n", "line 2: it has not as many fields"),
        ("case,T1\na\n", "line 2: it has not as many fields"),
        ("case,T1\n../a,a_T1.nii.gz\n", "line 2: '../a' is no name for files"),
        ("case,T1\n.a,a_T1.nii.gz\n", "line 2: '.a' is no name for files"),
        ("case,T1,brain_mask\na,a_T1.nii.gz,no.nii\n", "line 2: .*no.nii"),
        ('case,T1\na,"a_T1\n', "line 2"),
        ("case,T1, T1\na,a_T1.nii.gz,b_T1.nii.gz\n", "line 1: the column 'T1' stands there twice"),
        ("case,T1\n", "it lists no case"),
        ("", "it lists no case"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_file_and_line(
    tree: Tree, text: str, found: str
) -> None:
    path = as_csv(tree("a_T1.nii.gz", "b_T1.nii.gz"), text)
    with pytest.raises(InputError, match=found) as error:
        find_cases(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"a": 1}, "neither a list of cases"),
        ("a", "neither a list of cases"),
        ([3], "entry 1 is 3"),
        ([{"case": ["a"], "T1": "a_T1.nii.gz"}], r"entry 1: case is \['a'\]"),
        ([{"case": True, "T1": "a_T1.nii.gz"}], "entry 1: case is True"),
        ([{"case": float("nan"), "T1": "a_T1.nii.gz"}], "entry 1: case is nan"),
        ([{"T1": "a_T1.nii.gz", "T1 ": "b_T1.nii.gz"}], "'T1' stands twice in one entry"),
        ([{"case": "a", "T1": "a_T1.nii.gz"}, {"case": "b"}], "entry 2: it has no image"),
        ([{"case": "a", "T1": 3}], "entry 1: the file of T1 is 3"),
        ([{"case": "a", "T1": "a_T1.nii.gz", "T1_": ""}], "entry 1: unknown column 'T1_'"),
        ([], "it lists no case"),
    ],
)
def test_what_is_wrong_in_a_json_list_is_named_with_file_and_entry(
    tree: Tree, content: Any, found: str
) -> None:
    with pytest.raises(InputError, match=found) as error:
        find_cases(as_json(tree("a_T1.nii.gz"), content))
    assert "list.json" in str(error.value)


@pytest.mark.parametrize("case", ["../../a", "/etc/a", "a/b", "..", "a\\b", "a\0b"])
def test_a_case_s_id_cannot_lead_out_of_the_output_folder(tree: Tree, case: str) -> None:
    with pytest.raises(InputError, match="is no name for files"):
        find_cases(as_json(tree("a_T1.nii.gz"), [{"case": case, "T1": "a_T1.nii.gz"}]))


def test_a_number_is_a_name(tree: Tree) -> None:
    (case,) = find_cases(as_json(tree("a_T1.nii.gz"), [{"case": 7, "T1": "a_T1.nii.gz"}]))
    assert case.case_id == case.patient_id == "7"


def test_a_list_that_is_nested_without_end_is_refused(tree: Tree) -> None:
    path = tree("a_T1.nii.gz") / "list.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"list\.json: not readable as JSON"):
        find_cases(path)


def test_a_list_that_cannot_be_read_is_an_error(tree: Tree) -> None:
    root = tree("a_T1.nii.gz")
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        find_cases(root / "gone.csv")
    (root / "bad.json").write_text("[{")
    with pytest.raises(InputError, match="not readable as JSON"):
        find_cases(root / "bad.json")
    (root / "latin.csv").write_bytes("case,T1\nä,a\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        find_cases(root / "latin.csv")


def test_a_folder_is_no_list_whatever_its_name(tree: Tree) -> None:
    root = tree("scans.csv/a_T1.nii.gz")
    assert not is_list(root / "scans.csv") and is_list(root / "gone.JSON")
