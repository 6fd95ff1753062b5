"""What is written is NIfTI on its grid, with the header of the scan that it belongs to."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images import read_image, write_image
from dal_auto.images.writing import check_header

AFFINE = np.array([[0, 0, -2.5, 60], [-1, 0.1, 0, 40], [-0.1, -1, 0, 30], [0, 0, 0, 1]], float)
TURNED = np.array([[0.0, -2, 0, 5], [2, 0, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def save_as(path: Path, array: np.ndarray) -> Path:
    """An image on `TURNED`, in a format other than NIfTI."""
    if path.suffix in (".mgh", ".mgz"):
        nib.save(nib.MGHImage(array, TURNED), path)
        return path
    image, lps = sitk.GetImageFromArray(array.T), np.diag([-1, -1, 1, 1]) @ TURNED
    image.SetSpacing((2, 2, 2))
    image.SetOrigin(lps[:3, 3])
    image.SetDirection((lps[:3, :3] / 2).ravel())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    ("kind", "stored"), [(np.float64, np.float32), (bool, np.uint8), (np.int64, np.uint8)]
)
def test_what_is_written_comes_back_with_its_grid(tmp_path, kind, stored):
    array = (noise(8, 9, 10) > 100).astype(kind)
    write_image(tmp_path / "out" / "a.nii.gz", array, Grid((8, 9, 10), AFFINE))
    image = nib.load(tmp_path / "out" / "a.nii.gz")
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    # Both forms are set: some viewers read one, some the other.
    for form in ("qform", "sform"):
        matrix, code = getattr(image, f"get_{form}")(coded=True)
        assert code == 1
        np.testing.assert_allclose(matrix, AFFINE, atol=0.13 if form == "qform" else 1e-6)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.nii", noise(8, 9, 10), Grid((8, 9, 10), AFFINE))
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


@pytest.mark.parametrize(("qcode", "scode"), [(1, 0), (0, 2), (2, 1), (1, 4), (0, 0)])
def test_a_result_keeps_the_header_of_the_scan_it_belongs_to(tmp_path, qcode, scode):
    scan = nib.Nifti1Image(noise(8, 9, 10), None)
    scan.header.set_zooms((2, 2, 2))
    scan.set_qform(TURNED if qcode else None, qcode)
    moved = TURNED + np.outer([3, 3, 3, 0], [0, 0, 0, 1])  # the two forms need not agree
    scan.set_sform(moved if scode else None, scode)
    scan.header.set_xyzt_units("mm", "sec")
    nib.save(scan, tmp_path / "scan.nii.gz")

    array, grid = read_image(tmp_path / "scan.nii.gz")
    write_image(tmp_path / "map.nii.gz", array, grid, like=tmp_path / "scan.nii.gz")

    before, after = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-6)
    assert int(after.header["qform_code"]) == qcode
    assert int(after.header["sform_code"]) == scode
    assert after.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(after.header.get_zooms(), before.header.get_zooms())
    for form in [*["get_qform"] * bool(qcode), *["get_sform"] * bool(scode)]:
        np.testing.assert_allclose(getattr(after, form)(), getattr(before, form)(), atol=1e-6)


@pytest.mark.parametrize("ending", [".mgh", ".mgz", ".nrrd", ".mha"])
def test_a_result_on_a_scan_of_another_format_is_nifti_on_its_grid(tmp_path, ending):
    scan = save_as(tmp_path / f"scan{ending}", noise(8, 9, 10))
    array, grid = read_image(scan)
    write_image(tmp_path / "map.nii.gz", array, grid, like=scan)
    after = nib.load(tmp_path / "map.nii.gz")
    for form in ("get_sform", "get_qform"):
        matrix, code = getattr(after, form)(coded=True)
        assert code == 1
        np.testing.assert_allclose(matrix, TURNED, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(after.dataobj), array)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_a_result_keeps_the_header_of_a_scan_compressed_against_its_name(tmp_path, name):
    scan = save(tmp_path / name, noise(8, 9, 10))
    content = scan.read_bytes()
    scan.write_bytes(gzip.decompress(content) if name.endswith("gz") else gzip.compress(content))
    array, grid = read_image(scan)
    write_image(tmp_path / "map.nii.gz", array, grid, like=scan)
    np.testing.assert_allclose(nib.load(tmp_path / "map.nii.gz").affine, AFFINE, atol=1e-6)


def test_what_viewers_ask_for_is_in_the_header(tmp_path):
    grid = Grid((8, 9, 10), AFFINE)
    words = "é" * 60  # of two bytes each
    write_image(tmp_path / "a.nii", noise(8, 9, 10), grid, window=(0.25, 40), description=words)
    header = nib.load(tmp_path / "a.nii").header
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0.25, 40)
    assert bytes(header["descrip"].item()) == words.encode()[:79]
    assert header.get_xyzt_units()[0] == "mm"


def test_an_image_that_cannot_be_written_leaves_the_older_one(tmp_path):
    grid = Grid((8, 9, 10), AFFINE)
    write_image(tmp_path / "a.nii", noise(8, 9, 10), grid)
    before = (tmp_path / "a.nii").read_bytes()
    with pytest.raises(InputError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nib, "save", refuse)
        write_image(tmp_path / "a.nii", noise(8, 9, 10) + 1, grid)
    assert (tmp_path / "a.nii").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def refuse(_, path: Path) -> None:
    path.write_bytes(b"half")
    raise InputError(path, "it is refused", "Do something.")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mgh", ".nrrd"])
def test_a_header_that_can_be_carried_over_is_no_word_worth(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    (save if ".nii" in ending else save_as)(path, noise(8, 9, 10))
    check_header(path)


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, 3)])
def test_a_header_that_cannot_be_carried_over_is_named_before_any_work(tmp_path, damage):
    path = save(tmp_path / "scan.nii.gz", noise(8, 9, 10))
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(InputError, match="no result can be written with its header") as caught:
        check_header(path)
    assert caught.value.file == path
    with pytest.raises(InputError, match=r"gone\.nii"):
        check_header(tmp_path / "gone.nii")
