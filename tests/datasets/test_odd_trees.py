"""What disks hold: links, odd names, folders that look like files, copies, no right to write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from dal_auto.datasets.entries import image_entries
from dal_auto.datasets.registry import find_dataset
from dal_auto.errors import InputError

Tree = Callable[..., Path]
CASE = "BraTS2021_00000"


def brats(*parts: str) -> list[str]:
    return [f"BraTS-GLI/{CASE}/{CASE}_{part}.nii.gz" for part in parts or ("t1", "t2", "seg")]


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(root.rglob("*"))}


@pytest.mark.parametrize(
    "place", ["Daten für Köln", "[old] {x} $HOME 'q'", "データ", "a*b?", "x.nii.gz and more"]
)
def test_spaces_and_letters_of_any_kind_in_paths(
    tmp_path: Path, miniature: ModuleType, place: str
) -> None:
    raw = tmp_path / place / "raw data"
    for name in ("UPenn-GBM", "IXI"):
        miniature.write_tree(name, raw / name / place)
        dataset = find_dataset(name, raw)
        assert all(path.is_file() for c in dataset.cases for path in c.sequences.values())
        assert len(dataset.cases) == {"UPenn-GBM": 3, "IXI": 5}[name]
        masks = [case.lesion_mask for case in dataset.cases]
        assert all(masks) == (name == "UPenn-GBM")


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_read_only_folder_is_read_and_nothing_is_written(
    tmp_path: Path, miniature: ModuleType
) -> None:
    root = tmp_path / "UCSF-PDGM"
    miniature.write_tree("UCSF-PDGM", root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    before = snapshot(root)
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(find_dataset("UCSF-PDGM", tmp_path).cases) == 4
        assert snapshot(root) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_links_to_datasets_cases_and_files_are_followed(
    tmp_path: Path, miniature: ModuleType
) -> None:
    miniature.write_tree("MSLUB", tmp_path / "disk" / "ms data")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "MSLUB").symlink_to(tmp_path / "disk" / "ms data")
    case = find_dataset("MSLUB", tmp_path / "raw").cases[0]
    assert case.sequences["T1"].is_relative_to(tmp_path / "raw")
    copy = tmp_path / "linked" / "MSLUB" / "patient01"
    copy.mkdir(parents=True)
    for path in (*case.sequences.values(), case.lesion_mask, case.brain_mask):
        assert path is not None
        (copy / path.name).symlink_to(path)
    (linked,) = find_dataset("MSLUB", tmp_path / "linked").cases
    assert linked.sequences["T1"] == copy / "patient01_T1W.nii.gz" and linked.lesion_mask


def test_a_link_that_points_nowhere_is_kept_for_the_reader_to_name(tree: Tree) -> None:
    """As in a tree whose contents were not fetched: silence would make it a case without T2."""
    raw = tree(*brats("t1", "seg"))
    link = raw / "BraTS-GLI" / CASE / f"{CASE}_t2.nii.gz"
    link.symlink_to(raw / "gone.nii.gz")
    (case,) = find_dataset("BraTS-GLI", raw).cases
    assert case.sequences["T2"] == link
    bids = raw / "Open" / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    tree("Open/dataset_description.json")
    bids.parent.mkdir(parents=True)
    bids.symlink_to(raw / "gone.nii.gz")
    assert find_dataset("Open", raw).cases[0].sequences["T1"] == bids


def test_a_folder_named_like_an_image_stands_for_the_one_image_in_it(tree: Tree) -> None:
    raw = tree(
        f"BraTS-GLI/{CASE}/{CASE}_t1.nii/{CASE}_t1.nii",
        f"BraTS-GLI/{CASE}/{CASE}_t2.nii/anything.nii.gz",
        f"BraTS-GLI/{CASE}/{CASE}_seg.nii/a.nii",
        f"BraTS-GLI/{CASE}/{CASE}_seg.nii/b.nii",
        "BraTS-GLI/empty.nii/readme.txt",
    )
    (case,) = find_dataset("BraTS-GLI", raw).cases
    assert [path.name for path in case.sequences.values()] == [f"{CASE}_t1.nii", "anything.nii.gz"]
    assert all(path.is_file() for path in case.sequences.values())
    # Two in one cannot be chosen between: the folder is handed on, and reading it fails by name.
    assert case.lesion_mask == raw / "BraTS-GLI" / CASE / f"{CASE}_seg.nii"


def test_a_readable_image_comes_before_what_only_looks_like_one(tree: Tree) -> None:
    root = tree("a.nii", "b.nii.gz/readme.txt", "b.nii", ".c.nii", "notes.txt")
    (root / "a.nii.gz").symlink_to(root / "gone")
    assert image_entries(root) == {"a": root / "a.nii", "b": root / "b.nii"}
    assert image_entries(root / "nowhere") == {}


def test_subjects_that_are_there_twice_are_an_error_that_names_both_places(
    tmp_path: Path, miniature: ModuleType
) -> None:
    for name in ("IXI", "BraTS-MET"):
        root = tmp_path / name
        miniature.write_tree(name, root)
        first = next(root.rglob("IXI*-T1.nii.gz" if name == "IXI" else "BraTS-MET-00002-000"))
        copy = root / "zz copy" / first.name
        if first.is_dir():
            shutil.copytree(first, copy)
        else:
            copy.parent.mkdir()
            shutil.copy(first, copy)
        with pytest.raises(InputError) as error:
            find_dataset(name, tmp_path)
        assert "zz copy" in str(error.value) and str(first.parent) in str(error.value)
        assert "Keep one of the two" in str(error.value)


def test_folders_of_cases_without_an_image_are_named(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tree(*brats(), "BraTS-GLI/BraTS2021_00002/BraTS2021_00002_t1ce.nii.gz")
    assert len(find_dataset("BraTS-GLI", raw).cases) == 1
    assert "1 folders of cases hold no T1 or T2" in caplog.text
    assert "BraTS2021_00002" in caplog.text
