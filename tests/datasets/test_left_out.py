"""What looks like a scan and is left out is named; lists are read as programs leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dal_auto.datasets.scans import find_scans
from dal_auto.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(root: Path) -> list[str]:
    return [case.case_id for case in find_scans(root, root.parent / "out")]


def test_endings_in_capitals_are_read(tmp_path):
    assert ids(touch(tmp_path, "a_T1.nii.gz", "B_T1.NII.GZ", "c_T1.Nii")) == ["B", "a", "c"]


def test_a_pair_is_named(tmp_path, caplog):
    assert ids(touch(tmp_path, "a_T1.nii.gz", "b_T1.hdr", "b_T1.img")) == ["a"]
    assert "b_T1.hdr is left out: its voxels lie in a second file" in caplog.text


def test_formats_that_are_not_read_are_named(tmp_path, caplog):
    left = ("b_T1.mnc", "c_T1.mif.gz", "d_T1+orig.HEAD", "e_T1.hdr.gz")
    whole = ("d_T1+orig.BRIK.gz", "e_T1.img.gz")  # named with their headers
    assert ids(touch(tmp_path, "a_T1.nii.gz", *left, *whole, "notes.txt", "a_T1.json")) == ["a"]
    (told,) = caplog.messages
    assert told.startswith(f"{tmp_path}: 4 left out, in a format that is not read")
    assert all(name in told for name in left)


def test_what_is_packed_or_half_there_is_named(tmp_path, caplog):
    left = ("b_T1.nii.bz2", "c_T1.nii.gz.part", "d_T1.mgz.crdownload", "e_T1.NII.ZIP")
    assert ids(touch(tmp_path, "a_T1.nii.gz", "a_T1.nii.gz.md5", *left, "f_T1.img")) == ["a"]
    half, alone = sorted(caplog.messages, key=len, reverse=True)
    assert "4 left out, packed, or not yet whole" in half and all(name in half for name in left)
    assert alone.endswith("1 left out, voxels without their header: f_T1.img")


def test_dicom_files_and_sub_folders_beside_images_are_named(tmp_path, caplog):
    touch(tmp_path, "a_T1.nii.gz", "more/b_T1.nii.gz", "notes/text.txt", "__MACOSX/a_T1.nii.gz")
    (tmp_path / "series").mkdir()
    for path in (tmp_path / "IM0001", tmp_path / "series" / "IM0001"):
        path.write_bytes(bytes(128) + b"DICM")
    assert ids(tmp_path) == ["a"]
    slices, below = caplog.messages
    assert slices.endswith(
        "1 left out, DICOM beside images; name a folder of its own with -i: IM0001"
    )
    assert below.endswith(
        "2 left out, a sub-folder with scans in it; name it with -i: more, series"
    )


def test_bids_images_that_are_no_case_s_are_named(tmp_path, caplog):
    names = ("sub-01/anat/sub-01_T1w", "sub-02/anat/sub-02_UNIT1", "sub-P_03/anat/sub-P_03_T1w")
    touch(tmp_path, *(f"{name}.nii.gz" for name in names))
    (tmp_path / "dataset_description.json").write_text("{}")
    assert ids(tmp_path) == ["sub-01"]
    assert "sub-02_UNIT1.nii.gz is left out: UNIT1 is no T1w" in caplog.text
    assert "sub-P_03_T1w.nii.gz is left out: its name is none of BIDS" in caplog.text


def test_test_images_of_nnunet_are_named(tmp_path, caplog):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "imagesTs/c_0000.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1"}}))
    assert ids(tmp_path) == ["a"]
    assert "imagesTs: its 2 images are left out" in caplog.text


@pytest.mark.parametrize("twins", [("Pat1", "pat1"), ("M\u00fcller", "Mu\u0308ller")])
def test_ids_that_look_alike_are_named(tmp_path, caplog, twins):
    assert len(ids(touch(tmp_path, f"{twins[0]}_T1.nii.gz", f"{twins[1]}_T2.nii.gz"))) == 2
    assert "one patient?" in caplog.text and all(repr(twin) in caplog.text for twin in twins)


def test_a_file_whose_name_no_disk_could_hold_is_not_there(tmp_path):
    touch(tmp_path, "a_T1.nii.gz")
    (tmp_path / "list.csv").write_text(f"case,T1\na,a_T1.nii.gz\nb,{'x' * 300}.nii\n")
    with pytest.raises(InputError, match=r"1 of its files are not there \(line 3: "):
        find_scans(tmp_path / "list.csv", tmp_path / "out")


def test_a_list_as_excel_leaves_it_is_read(tmp_path):
    touch(tmp_path, "a_T1.nii.gz")
    rows = ["case;T1;T2;;", "a;a_T1.nii.gz;;;", ";;;;", ";;;;"]
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    (case,) = find_scans(tmp_path / "list.csv", tmp_path / "out")
    assert case.case_id == "a" and list(case.sequences) == ["T1"]
