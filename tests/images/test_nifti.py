"""Headers as other programs leave them: read as ITK and nifti_clib read them, or refused."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images import read_volume, write_image

SHAPE = (60, 70, 80)
AFFINE = np.array([[-2.0, 0, 0, 60], [0, 2.5, 0, -70], [0, 0, 2, -40], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(1).integers(1, 1000, SHAPE).astype(np.int16)


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def shorts(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def nifti(
    path: Path, places: dict[int, bytes], affine: np.ndarray = AFFINE, unit: str = "mm"
) -> Path:
    """A file with both forms set, some of whose bytes are overwritten."""
    image = nib.Nifti1Image(VOXELS, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 2)
    image.header.set_xyzt_units(unit, "sec")
    content = bytearray(image.to_bytes())
    for start, new in places.items():
        content[start : start + len(new)] = new
    path.write_bytes(content)
    return path


def like(scan: Path, path: Path) -> nib.Nifti1Image:
    volume = read_volume(scan)
    write_image(path, volume.array, volume.grid, like=scan)
    return nib.load(path)


REPAIRED = {
    "negative pixdim": ({84: floats(-2.5)}, "voxel sizes are negative"),
    "pixdim 0": ({80: floats(0, 0, 0)}, "no lengths (0, 0, 0), those of the sform are taken"),
    "pixdim that is no number": ({84: floats(np.nan)}, "no lengths (2, nan, 2), those of the"),
    "unknown unit": ({123: b"\xcd"}, "unit of length is unknown"),
    "no side of the quaternion": ({76: floats(np.nan)}, "sform and qform disagree"),
    "NaN slope": ({112: floats(np.nan, 5)}, None),
    "NaN intercept": ({112: floats(1, np.nan)}, "intercept is no number"),
    "NaN window, duration, descrip": ({124: floats(*[np.nan] * 4), 148: b"\xcd" * 80}, None),
    "vox_offset 0": ({108: floats(0)}, "vox_offset is 0; its voxels begin at byte 352"),
    "vox_offset 348": ({108: floats(348)}, "vox_offset is 348; its voxels begin at byte 352"),
    "a fourth axis of no length": ({40: shorts(4), 48: shorts(0)}, "promises 4 axes"),
    "a fourth axis of one": ({40: shorts(4), 48: shorts(1)}, None),
    "codes below 0": ({252: shorts(-1)}, None),
    "an sform of zeros": ({280: bytes(48)}, "its sform cannot be inverted, the qform is used"),
    "a quaternion too long": ({256: floats(0, 1.2, 0)}, "has length 1.200"),
}


@pytest.mark.parametrize("kind", REPAIRED)
def test_what_can_be_read_in_one_way_is_read_and_said_and_a_result_can_be_written(tmp_path, kind):
    places, oddity = REPAIRED[kind]
    scan = nifti(tmp_path / "scan.nii", places)
    found = read_volume(scan)
    np.testing.assert_array_equal(found.array, VOXELS)
    np.testing.assert_allclose(found.grid.affine, AFFINE, atol=1e-4)
    said = [str(one) for one in found.oddities]
    assert any(oddity in one for one in said) if oddity else said == []
    made = like(scan, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(made.dataobj), VOXELS)


UNITS = {
    "metres": (1e-3, "meter", "unit of length is metres"),
    "microns": (1e3, "micron", "unit of length is microns"),
    "metres called mm": (1e-3, "mm", "metres are taken"),
    "metres without a word": (1e-3, "unknown", "metres are taken"),
    "microns called mm": (1e3, "mm", "microns are taken"),
    "mm called metres": (1, "meter", "mm are taken"),
    "mm called microns": (1, "micron", "mm are taken"),
}


@pytest.mark.parametrize("kind", UNITS)
def test_a_scan_has_its_size_in_mm_whatever_the_unit_and_a_map_keeps_the_unit(tmp_path, kind):
    scale, unit, oddity = UNITS[kind]
    told = np.diag([scale, scale, scale, 1]) @ AFFINE
    scan = nifti(tmp_path / "scan.nii", {}, told, unit)
    found = read_volume(scan)
    np.testing.assert_allclose(found.grid.affine, AFFINE, rtol=1e-5, atol=1e-4)
    assert found.forms_conflict_mm == pytest.approx(0, abs=0.01)
    assert any(oddity in str(one) for one in found.oddities)
    made = like(scan, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(made.affine, told, rtol=1e-5, atol=1e-4 * scale)
    assert made.header.get_xyzt_units()[0] == unit


@pytest.mark.parametrize(
    ("places", "tail", "finding"),
    [
        ({108: floats(0)}, b"more" * 9, "vox_offset is 0, inside the header, and 388 bytes"),
        ({108: floats(-4)}, b"more", "vox_offset is -4, inside the header"),
        ({108: floats(np.nan)}, b"more", "vox_offset is nan, inside the header"),
        ({108: floats(4448)}, b"more", "voxels should begin at byte 4448, 4092 are missing"),
        ({123: b"\x01", 80: floats(40, 40, 40)}, b"", None),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, places, tail, finding):
    scan = nifti(tmp_path / "scan.nii", places)
    if finding is None:  # 40 m called metres; as mm it is 3.2 m
        affine = np.diag([40.0, 40, 40, 1])
        scan = nifti(tmp_path / "scan.nii", {}, affine, "meter")
        finding = "unit of length is metres"
    scan.write_bytes(scan.read_bytes() + tail)
    with pytest.raises(InputError, match=finding):
        read_volume(scan)


@pytest.mark.parametrize(("axis", "place"), [(0, "first"), (1, "second"), (2, "third")])
def test_an_axis_of_one_elsewhere_is_named(tmp_path, axis, place):
    image = nib.Nifti1Image(np.expand_dims(VOXELS, axis), AFFINE)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=rf"shape is \(.*\)\. Drop its {place} axis, of length 1"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_shear_is_said_and_one_too_large_refused(tmp_path):
    for drift, words in ((0.2, "sheared, 11.3°"), (1.5, "sheared, 56°")):
        shear = np.eye(4)
        shear[1, 2] = drift
        nib.save(nib.Nifti1Image(VOXELS, shear), tmp_path / "a.nii.gz")
        try:
            said = str(read_volume(tmp_path / "a.nii.gz").oddities[0])
        except InputError as error:
            said = str(error)
        assert words in said
        assert ("Mend the header" in said) == (drift > 1)


def test_a_label_that_does_not_fit_is_refused_and_not_wrapped(tmp_path):
    with pytest.raises(ValueError, match="300 does not fit into uint8"):
        write_image(tmp_path / "a.nii", np.full(SHAPE, 300), Grid(SHAPE, AFFINE))
    assert not (tmp_path / "a.nii").exists()


def test_a_result_carries_its_window_and_what_it_is(tmp_path):
    grid = Grid(SHAPE, AFFINE)
    long = "an anomaly map " * 9
    write_image(
        tmp_path / "a.nii", VOXELS.astype(np.float32), grid, window=(0, 0.25), description=long
    )
    header = nib.load(tmp_path / "a.nii").header
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0, 0.25)
    assert bytes(header["descrip"]).decode().rstrip("\0") == long[:79]
