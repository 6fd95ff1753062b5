"""DICOM series as volumes: geometry against SimpleITK's own, slices missing or there twice."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

from dal_auto.errors import InputError
from dal_auto.images.dicom import dicom_files, find_series, is_dicom, read_series


@pytest.fixture(scope="module")
def dicom_series() -> ModuleType:
    path = Path(__file__).parents[1] / "datasets" / "dicom_series.py"
    spec = importlib.util.spec_from_file_location("dicom_series", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dicom_series"] = module
    spec.loader.exec_module(module)
    return module


def test_a_series_is_the_volume_that_was_written_where_it_was(dicom_series, tmp_path):
    image = dicom_series.volume()
    dicom_series.write_series(tmp_path / "a", image)
    (series,) = find_series(dicom_files(tmp_path))
    array, grid = read_series(series)
    assert series.slices == 12 and series.widest_mm == pytest.approx(5, abs=1e-4)
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image).T)
    for index in [(0, 0, 0), (19, 15, 11), (3, 7, 5)]:
        world = grid.affine @ [*index, 1]
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        np.testing.assert_allclose(world[:3], expected, atol=1e-3)


def test_files_are_split_into_series_by_number_echo_and_kind_not_by_folder(dicom_series, tmp_path):
    image = dicom_series.volume()
    dicom_series.write_series(tmp_path / "a", image, 1, te=10)
    for file in dicom_series.write_series(tmp_path / "b", image, 2, te=10):
        shutil.move(file, tmp_path / "a")
    for file in dicom_series.write_series(tmp_path / "b", image, 1, te=90):
        shutil.move(file, tmp_path / "a" / f"second-echo-{file.name}")
    dicom_series.write_series(tmp_path / "c", image, 3, kind="ORIGINAL\\PRIMARY\\P")
    found = find_series(dicom_files(tmp_path))
    echoes = [(s.first.number, s.first.echo_ms, s.slices) for s in found if s.first.echo_ms]
    assert sorted(echoes) == [("1", 10.0, 12), ("1", 90.0, 12), ("2", 10.0, 12)]
    assert len(found) == 4


def test_a_missing_slice_is_an_error_that_says_where(dicom_series, tmp_path):
    files = dicom_series.write_series(tmp_path, dicom_series.volume())
    files[4].unlink()
    (series,) = find_series(dicom_files(tmp_path))
    with pytest.raises(InputError, match=r"5\.00 mm apart, but 10\.00 mm after slice 4"):
        read_series(series)


def test_two_exports_of_a_series_in_one_folder_are_an_error(dicom_series, tmp_path):
    files = dicom_series.write_series(tmp_path, dicom_series.volume())
    shutil.copyfile(files[0], tmp_path / "copy")
    (series,) = find_series(dicom_files(tmp_path))
    with pytest.raises(InputError, match="several images in one place"):
        read_series(series)


def test_what_is_no_dicom_or_holds_no_image_is_passed_over(tmp_path):
    (tmp_path / "notes.dcm").write_text("no DICOM")
    directory = tmp_path / "DICOMDIR"
    directory.write_bytes(bytes(128) + b"DICM" + bytes(20))
    assert is_dicom(directory) and not is_dicom(tmp_path / "notes.dcm")
    assert find_series(dicom_files(tmp_path)) == []
