"""Images in and out; every bad file is an error that names it and says what to do."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images import read_image, read_mask, read_scan, read_volume, write_image

AFFINE = np.array([[0, 0, -2.5, 60], [-1, 0.1, 0, 40], [-0.1, -1, 0, 30], [0, 0, 0, 1]], float)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)


def patched(path: Path, places: dict[int, bytes]) -> Path:
    """An uncompressed file with some bytes overwritten, as a broken converter leaves it."""
    content = bytearray(save(path, noise(8, 9, 10)).read_bytes())
    for start, new in places.items():
        content[start : start + len(new)] = new
    path.write_bytes(content)
    return path


def bare_nifti() -> bytes:
    return nib.Nifti1Image(noise(8, 9, 10), AFFINE).to_bytes()


def _damage_gzip(path: Path, kind: str) -> Path:
    content = save(path, noise(20, 20, 20)).read_bytes()
    if kind == "truncated":
        path.write_bytes(content[:-5000])
    elif kind == "broken checksum":
        path.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])
    elif kind == "broken inside":
        path.write_bytes(content[:9000] + b"\xff" * 50 + content[9050:])
    return path


def _damage_voxels(path: Path, kind: str) -> Path:
    image = noise(8, 9, 10)
    if kind == "NaN":
        image[1, 2, 3] = np.nan
    elif kind == "infinite":
        image[1, 2, 3] = np.inf
    elif kind == "constant":
        image[:] = 7
    elif kind == "series":
        image = noise(8, 9, 10, 3)
    elif kind == "one slice":
        image = noise(8, 9, 1)
    elif kind == "flat":
        image = noise(8, 9)
    elif kind == "colours":
        image = np.zeros((8, 9, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    elif kind == "complex":
        image = noise(8, 9, 10).astype(np.complex64)
    elif kind == "too large":
        image = noise(8, 9, 10).astype(np.float64) * 1e300
    return save(path, image)


def _other_content(path: Path, kind: str) -> Path:
    content = {
        "empty": b"",
        "header only": gzip.compress(bare_nifti()[:200]),
        "a web page": b"<html>please log in</html>" * 20,
        "text": gzip.compress(b"this is no image" * 50),
        "zip": b"PK\3\4" + bytes(500),
        "DICOM": bytes(128) + b"DICM" + bytes(500),
        "MINC": b"\x89HDF\r\n\x1a\n" + bytes(500),
        "Analyze": (348).to_bytes(4, "little") + bytes(600),
        "pair": bare_nifti()[:344] + b"ni1\0" + bytes(100),
    }[kind]
    path.write_bytes(content)
    return path


def _bad_header(path: Path, kind: str) -> Path:
    path = path.with_suffix("")  # uncompressed, so that bytes have their places
    if kind == "singular":
        return patched(path, {280: bytes(48)})
    if kind == "spacing 0":
        return patched(path, {280 + 8: bytes(4), 296 + 8: bytes(4), 312 + 8: bytes(4)})
    if kind == "flat affine":
        row = np.array([1, 2, 3, 0], "<f4").tobytes()
        return patched(path, {280: row, 296: row})
    if kind == "NaN affine":
        return patched(path, {280: np.array([np.nan], "<f4").tobytes()})
    return patched(path, {42: np.array([30000] * 3, "<i2").tobytes()})  # more voxels than bytes


def broken(path: Path, kind: str) -> Path:
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
        return path
    if kind == "dangling link":
        path.symlink_to(path.with_name("gone.nii.gz"))
        return path
    for maker, kinds in (
        (_damage_gzip, DAMAGED),
        (_damage_voxels, VOXELS),
        (_other_content, CONTENTS),
        (_bad_header, HEADERS),
    ):
        if kind in kinds:
            return maker(path, kind)
    raise KeyError(kind)


PLACES = {
    "missing": "no such file",
    "folder": "it is a folder",
    "dangling link": r"no such file: it is a link to .*gone\.nii\.gz",
}
DAMAGED = {
    "truncated": "cannot be read to its end",
    "broken checksum": r"compressed data are damaged \(.*incorrect data check\)",
    "broken inside": "compressed data are damaged",
}
VOXELS = {
    "series": r"3-D image was expected, its shape is \(8, 9, 10, 3\)",
    "one slice": r"3-D image was expected, its shape is \(8, 9, 1\)",
    "flat": r"3-D image was expected, its shape is \(8, 9\)",
    "NaN": "1 voxels are NaN or infinite",
    "infinite": "1 voxels are NaN or infinite",
    "too large": "720 voxels are NaN or infinite",
    "constant": "all voxels have the value 7",
    "colours": "its voxels are colours",
    "complex": "its voxels are complex",
}
CONTENTS = {
    "empty": "the file is empty",
    "header only": "it ends after 200 bytes",
    "a web page": "it is a web page",
    "text": "it is no image of a known format",
    "zip": "it is a zip archive",
    "DICOM": "it is a DICOM file",
    "MINC": "HDF5 or NetCDF",
    "Analyze": "it is an Analyze header",
    "pair": r"header of a NIfTI pair \(\.hdr, \.img\)",
}
HEADERS = {
    "singular": "affine cannot be inverted: voxel size 0 along x",
    "spacing 0": "affine cannot be inverted: voxel size 0 along z",
    "flat affine": "affine cannot be inverted: its axes lie in one plane",
    "NaN affine": "its affine holds NaN",
    "too few bytes": "cannot be read to its end as NIfTI-1",
}


@pytest.mark.parametrize(
    ("kind", "finding"), [*(PLACES | DAMAGED | VOXELS | CONTENTS | HEADERS).items()]
)
def test_a_bad_file_is_named_with_what_was_found_and_what_to_do(tmp_path, kind, finding):
    path = broken(tmp_path / "scan.nii.gz", kind)
    with pytest.raises(InputError, match=finding) as caught:
        read_image(path)
    assert caught.value.file == path
    assert str(path) in str(caught.value)
    assert caught.value.remedy.endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path):
    path = save(tmp_path / "a.nii", noise(8, 9, 10))
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot be opened \(Permission denied\)"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "rewrite", "oddity"),
    [
        ("a.nii.gz", gzip.decompress, "the file is not compressed, against its name"),
        ("a.nii", gzip.compress, "the file is compressed, against its name"),
        ("a.nii.gz", lambda c: c + b"<html>" * 9, "54 bytes after the end of the compressed data"),
        ("a.nii.gz", lambda c: c + b"\x1f\x8bnothing more", "14 bytes after the end"),
        ("a.nii.gz", lambda c: c + bytes(512), None),  # padding of a tape or a block device
    ],
)
def test_an_odd_but_whole_file_is_read_and_its_oddity_said(tmp_path, name, rewrite, oddity):
    array = noise(8, 9, 10)
    path = save(tmp_path / name, array)
    path.write_bytes(rewrite(path.read_bytes()))
    found = read_volume(path)
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.grid.affine, AFFINE, atol=1e-6)
    if oddity is None:
        assert found.oddities == ()
    else:
        assert len(found.oddities) == 1 and oddity in str(found.oddities[0])


def test_gzip_members_in_a_row_are_one_file(tmp_path):
    content = bare_nifti()
    parts = [gzip.compress(content[start : start + 700]) for start in range(0, len(content), 700)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts))
    found = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.array, noise(8, 9, 10))
    assert found.oddities == ()


@pytest.mark.parametrize("folder", ["plain", "with blank", "mit Umlaut ä", "日本"])
def test_links_blanks_and_other_letters_in_paths_are_nothing_special(tmp_path, folder):
    (tmp_path / folder).mkdir()
    path = save(tmp_path / folder / "ein Kopf ü.nii.gz", noise(8, 9, 10))
    link = tmp_path / folder / "link.nii.gz"
    link.symlink_to(path.name)
    np.testing.assert_array_equal(read_image(link)[0], read_image(path)[0])
    write_image(tmp_path / folder / "a ü.nii.gz", noise(8, 9, 10), Grid((8, 9, 10), AFFINE))


FORMATS = [".nii", ".nii.gz", ".mgh", ".mgz", ".nrrd", ".mha"]


def save_as(path: Path, array: np.ndarray, affine: np.ndarray, *, compress: bool = False) -> Path:
    """Write an image by the library that is at home in its format."""
    if path.name.endswith((".nii", ".nii.gz")):
        return save(path, array, affine)
    if path.name.endswith((".mgh", ".mgz")):
        nib.save(nib.MGHImage(array, affine), path)
        return path
    image = sitk.GetImageFromArray(array.T)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection((lps[:3, :3] / spacing).ravel())
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


ROTATED = np.eye(4)
ROTATED[:3, :3] = Rotation.from_euler("xyz", (80, -20, 190), degrees=True).as_matrix() * (1, 2, 3)
ROTATED[:3, 3] = (5, -60, 17)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_voxels_at_the_same_places(tmp_path, ending, compress):
    array = (noise(8, 9, 10) * 10).astype(np.float32)
    path = save_as(tmp_path / f"a b ü{ending}", array, ROTATED, compress=compress)
    found = read_volume(path)
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.grid.affine, ROTATED, atol=1e-4)
    assert found.dtype == "float32" and found.oddities == ()
    assert read_mask(path)[0].sum() == (array > 0.5).sum()


def test_nifti_2_is_read_as_nifti_1(tmp_path):
    nib.save(nib.Nifti2Image(noise(8, 9, 10), AFFINE), tmp_path / "a.nii.gz")
    array, grid = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(array, noise(8, 9, 10))
    np.testing.assert_allclose(grid.affine, AFFINE)
    write_image(tmp_path / "b.nii", array, grid, like=tmp_path / "a.nii.gz")
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mgz", ".mgh"])
def test_other_formats_that_are_cut_off_are_refused(tmp_path, ending, compress):
    path = save_as(tmp_path / f"a{ending}", noise(8, 9, 10), ROTATED, compress=compress)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(InputError, match=r"cannot be read to its end") as caught:
        read_image(path)
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_damage_inside_compressed_voxels_is_refused(tmp_path, ending):
    """ITK's MetaImage reader itself would hand out what it could decompress."""
    path = save_as(tmp_path / f"a{ending}", noise(8, 9, 10), ROTATED, compress=True)
    content = bytearray(path.read_bytes())
    content[-900] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read to its end"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
def test_a_header_whose_voxels_lie_elsewhere_is_refused(tmp_path, ending):
    path = save_as(tmp_path / f"a{ending}", noise(8, 9, 10), ROTATED)
    with pytest.raises(InputError, match="voxels lie in a second file"):
        read_image(path)
    renamed = path.rename(path.with_suffix(path.suffix[:4].replace("nhd", "nrrd")))
    with pytest.raises(InputError):
        read_image(renamed)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize(("kind", "finding"), [("series", "3-D"), ("colours", "3 values each")])
def test_series_and_colours_of_other_formats_are_refused(tmp_path, ending, kind, finding):
    path = tmp_path / f"a{ending}"
    array = noise(8, 9, 10, 3)
    image = sitk.GetImageFromArray(array.T if kind == "series" else array, kind == "colours")
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match=finding):
        read_image(path)


def test_a_nrrd_without_a_space_says_that_its_orientation_is_a_guess(tmp_path):
    path = save_as(tmp_path / "a.nrrd", noise(8, 9, 10), ROTATED)
    lines = path.read_bytes().split(b"\n\n", 1)
    head = [line for line in lines[0].split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join(head) + b"\n\n" + lines[1])
    assert "names no space" in str(read_volume(path).oddities[0])


def test_forms_that_agree_or_stand_alone_are_no_oddity(tmp_path):
    image = nib.Nifti1Image(noise(8, 9, 10), ROTATED)
    nib.save(image, tmp_path / "sform.nii")
    assert read_volume(tmp_path / "sform.nii").forms_conflict_mm is None
    image.set_qform(ROTATED, 1)
    nib.save(image, tmp_path / "both.nii")
    found = read_volume(tmp_path / "both.nii")
    assert found.forms_conflict_mm < 1e-3 and found.oddities == ()


def test_forms_in_conflict_are_measured_at_the_corners_and_the_sform_is_used(tmp_path):
    image = nib.Nifti1Image(noise(8, 9, 10), ROTATED)
    turned = ROTATED.copy()
    turned[:3, :3] = Rotation.from_euler("z", 10, degrees=True).as_matrix() @ turned[:3, :3]
    image.set_qform(turned, 1)
    image.set_sform(ROTATED, 2)
    nib.save(image, tmp_path / "a.nii.gz")
    corners = np.array([[x, y, z, 1] for x in (0, 7) for y in (0, 8) for z in (0, 9)])
    distance = np.linalg.norm((corners @ (turned - ROTATED).T)[:, :3], axis=1).max()
    found = read_volume(tmp_path / "a.nii.gz")
    assert found.forms_conflict_mm == pytest.approx(distance, abs=1e-3)
    np.testing.assert_allclose(found.grid.affine, ROTATED, atol=1e-5)
    (conflict,) = found.oddities
    assert (conflict.code, conflict.limit) == ("forms-conflict", 0.1)
    assert conflict.value == pytest.approx(distance, abs=1e-3)
    assert f"disagree by up to {distance:.1f} mm" in str(conflict)


def test_a_header_without_any_form_says_that_its_orientation_is_a_guess(tmp_path):
    image = nib.Nifti1Image(noise(8, 9, 10), None)
    nib.save(image, tmp_path / "a.nii")
    assert "neither sform nor qform" in str(read_volume(tmp_path / "a.nii").oddities[0])


def test_an_mgh_without_orientation_says_so(tmp_path):
    nib.save(nib.MGHImage(noise(8, 9, 10), ROTATED), tmp_path / "a.mgh")
    content = bytearray((tmp_path / "a.mgh").read_bytes())
    content[28:30] = bytes(2)  # goodRASFlag
    (tmp_path / "a.mgh").write_bytes(content)
    assert "no orientation" in str(read_volume(tmp_path / "a.mgh").oddities[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(FORMATS),
    st.tuples(*[st.floats(-180, 180).map(lambda angle: round(angle, 2))] * 3),
    st.tuples(*[st.floats(0.4, 5).map(lambda size: round(size, 3))] * 3),
    st.tuples(*[st.integers(2, 9)] * 3),
    st.tuples(*[st.floats(-200, 200).map(lambda place: round(place, 2))] * 3),
    st.booleans(),
)
def test_any_affine_survives_any_format_to_half_a_voxel_and_far_below(
    tmp_path_factory, ending, degrees, spacing, shape, origin, mirrored
):
    """Any rotation and any handedness, read from disk: voxels and their places are the same."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine[:3, :3] = rotation * spacing * (-1 if mirrored else 1)
    affine[:3, 3] = origin
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = save_as(tmp_path_factory.mktemp("any") / f"a{ending}", array, affine)
    found, grid = read_image(path)
    np.testing.assert_array_equal(found, array)
    corners = np.array([[x, y, z, 1] for x in (0, 8) for y in (0, 8) for z in (0, 8)])
    distance = np.linalg.norm((corners @ (grid.affine - affine).T)[:, :3], axis=1)
    assert distance.max() < 1e-3 * min(spacing)


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


def test_a_mask_without_a_value_above_one_half_is_refused(tmp_path):
    array = np.zeros((8, 9, 10), np.float32)
    array[2:4] = 0.4
    with pytest.raises(InputError, match=r"a\.nii\.gz.*its highest value is 0\.4"):
        read_mask(save(tmp_path / "a.nii.gz", array))


def test_an_empty_mask_is_a_mask(tmp_path):
    mask, grid = read_mask(save(tmp_path / "a.nii.gz", np.zeros((8, 9, 10), np.uint8)))
    assert not mask.any()
    assert grid.shape == (8, 9, 10)


@pytest.mark.parametrize("kind", ["missing", "truncated", "NaN", "series"])
def test_a_mask_must_be_as_readable_as_an_image(tmp_path, kind):
    with pytest.raises(InputError, match=r"scan\.nii\.gz"):
        read_mask(broken(tmp_path / "scan.nii.gz", kind))


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2, 4), (0, 0.999, 2.001)])
def test_labels_are_no_scan(tmp_path, values):
    labels = np.random.default_rng(0).choice(np.array(values, np.float32), (60, 50, 50))
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "a_T1.nii.gz")
    said = f"{len(values)} values \\({', '.join(f'{v:g}' for v in values)}\\): labels or a mask"
    with pytest.raises(InputError, match=said):
        read_scan(tmp_path / "a_T1.nii.gz")
    labels[30, 20:30, 20] = np.arange(10)  # few voxels have other values: not judged by a sample
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "a_T1.nii.gz")
    read_scan(tmp_path / "a_T1.nii.gz")
