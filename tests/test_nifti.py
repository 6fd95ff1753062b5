"""Images in and out; every bad file is an error that names it and says what to do."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.nifti import read_image, read_mask, write_image

AFFINE = np.array([[0, 0, -2.5, 60], [-1, 0.1, 0, 40], [-0.1, -1, 0, 30], [0, 0, 0, 1]], float)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)


def broken(path: Path, kind: str) -> Path:
    image = noise(8, 9, 10)
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(path.with_name("gone.nii.gz"))
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        save(path, noise(20, 20, 20))
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == "header only":
        save(path, image)
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "text":
        path.write_text("<html>please log in</html>")
    elif kind == "series":
        save(path, noise(8, 9, 10, 3))
    elif kind == "one slice":
        save(path, noise(8, 9, 1))
    elif kind == "flat":
        save(path, noise(8, 9))
    elif kind == "NaN":
        image[1, 2, 3] = np.nan
        save(path, image)
    elif kind == "infinite":
        image[1, 2, 3] = np.inf
        save(path, image)
    elif kind == "constant":
        save(path, np.full((8, 9, 10), 7.0, np.float32))
    elif kind == "colours":
        save(path, np.zeros((8, 9, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    elif kind == "singular":
        # nibabel does not write such an affine; a broken converter does.
        header = save(path.with_name("good.nii"), image).read_bytes()
        rows = np.zeros((3, 4), "<f4").tobytes()
        path.with_suffix("").write_bytes(header[:280] + rows + header[328:])
        return path.with_suffix("")
    return path


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("missing", "no such file"),
        ("folder", "no such file"),
        ("dangling link", "no such file"),
        ("empty", "empty"),
        ("truncated", "cannot be read to its end"),
        ("header only", "cannot be read to its end"),
        ("text", "cannot be read to its end as NIfTI"),
        ("series", r"3-D image was expected, its shape is \(8, 9, 10, 3\)"),
        ("one slice", r"3-D image was expected, its shape is \(8, 9, 1\)"),
        ("flat", r"3-D image was expected, its shape is \(8, 9\)"),
        ("NaN", "1 voxels are NaN or infinite"),
        ("infinite", "1 voxels are NaN or infinite"),
        ("constant", "all voxels have the value 7"),
        ("colours", "cannot be read to its end as NIfTI"),
        ("singular", "affine cannot be inverted"),
    ],
)
def test_a_bad_file_is_named_with_what_was_found_and_what_to_do(tmp_path, kind, finding):
    path = broken(tmp_path / "scan.nii.gz", kind)
    with pytest.raises(InputError, match=finding) as caught:
        read_image(path)
    assert caught.value.file == path
    assert str(path) in str(caught.value)
    assert caught.value.remedy.endswith(".")


def test_an_image_is_read_as_another_library_reads_it(tmp_path):
    path = save(tmp_path / "a.nii.gz", noise(8, 9, 10))
    array, grid = read_image(path)
    itk = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(itk).T)
    assert array.dtype == np.float32
    assert grid.shape == itk.GetSize()
    np.testing.assert_allclose(grid.spacing_mm, itk.GetSpacing(), rtol=1e-6)
    ras = np.array(itk.TransformIndexToPhysicalPoint((7, 2, 5))) * (-1, -1, 1)
    np.testing.assert_allclose(grid.affine @ (7, 2, 5, 1), [*ras, 1], atol=1e-4)


def test_slope_and_intercept_of_the_header_are_applied(tmp_path):
    stored = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.5, -10)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_image(tmp_path / "a.nii")[0], stored * 0.5 - 10)


def test_last_axes_of_length_one_are_dropped(tmp_path):
    array = noise(8, 9, 10)
    path = save(tmp_path / "a.nii.gz", array[..., None, None])
    np.testing.assert_array_equal(read_image(path)[0], array)


def test_negative_values_are_kept(tmp_path):
    array = noise(8, 9, 10) - 100
    assert read_image(save(tmp_path / "a.nii", array))[0].min() == array.min() < 0


@pytest.mark.parametrize("label", [1, 4, 0.999])
def test_a_mask_is_what_lies_above_one_half(tmp_path, label):
    array = np.full((8, 9, 10), 0.001, np.float32)
    array[2:4] = label
    mask, _ = read_mask(save(tmp_path / "a.nii.gz", array))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, array > 0.5)


def test_an_empty_mask_is_a_mask(tmp_path):
    mask, grid = read_mask(save(tmp_path / "a.nii.gz", np.zeros((8, 9, 10), np.uint8)))
    assert not mask.any()
    assert grid.shape == (8, 9, 10)


@pytest.mark.parametrize("kind", ["missing", "truncated", "NaN", "series"])
def test_a_mask_must_be_as_readable_as_an_image(tmp_path, kind):
    with pytest.raises(InputError, match=r"scan\.nii\.gz"):
        read_mask(broken(tmp_path / "scan.nii.gz", kind))


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
    turned = np.array([[0.0, -2, 0, 5], [2, 0, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    scan = nib.Nifti1Image(noise(8, 9, 10), None)
    scan.header.set_zooms((2, 2, 2))
    scan.set_qform(turned if qcode else None, qcode)
    moved = turned + np.outer([3, 3, 3, 0], [0, 0, 0, 1])  # the two forms need not agree
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
