"""A mask written as DICOM SEG and read back: it lies where it was found, and says whose it is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import highdicom as hd
import numpy as np
import pydicom
import pytest

from dal_auto.errors import InputError, MissingDependency
from dal_auto.images import dicom_seg
from dal_auto.images.dicom import dicom_files, find_series, read_series
from dal_auto.images.dicom_seg import Found, write_segmentation

FOUND = Found("anomaly T1", "DAL", "ab" * 32)
FRAME = {"frame": "1.2.3.4"}


@pytest.fixture(scope="module")
def dicom_series() -> ModuleType:
    path = Path(__file__).parents[1] / "datasets" / "dicom_series.py"
    spec = importlib.util.spec_from_file_location("dicom_series", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dicom_series"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def series(dicom_series, tmp_path):
    """An oblique series of 12 slices, 5 mm apart: its files, voxels and grid."""
    dicom_series.write_series(tmp_path / "in", dicom_series.volume(), te=15, tr=550, **FRAME)
    (found,) = find_series(dicom_files(tmp_path / "in"))
    return [header.file for header in found.headers], *read_series(found)


def middle(shape: tuple[int, int, int]) -> np.ndarray:
    """A mask that fits itself in no mirror image."""
    mask = np.zeros(shape, bool)
    mask[3:9, 5:7, 2:5] = True
    mask[3, 5:11, 4] = True
    return mask


def world_of(segmentation: hd.seg.Segmentation) -> np.ndarray:
    """Places of its voxels in the patient's LPS mm, as DICOM defines them: frame by frame."""
    volume = segmentation.get_volume(combine_segments=True)
    return volume.map_indices_to_reference(np.argwhere(volume.array > 0))


def test_on_an_oblique_series_every_voxel_comes_back_to_its_place(series, tmp_path):
    files, voxels, grid = series
    mask = middle(voxels.shape)
    write_segmentation(tmp_path / "a.dcm", mask, files, FOUND)
    back = hd.seg.segread(tmp_path / "a.dcm")
    expected = (np.argwhere(mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]) * (-1, -1, 1)
    found = world_of(back)
    assert len(found) == mask.sum()
    order = [np.lexsort(np.round(places, 2).T) for places in (expected, found)]
    assert np.abs(expected[order[0]] - found[order[1]]).max() < 1e-3


def test_it_lies_on_the_frames_of_its_series(series, tmp_path):
    files, voxels, _ = series
    mask = middle(voxels.shape)
    write_segmentation(tmp_path / "a.dcm", mask, files, FOUND)
    back = hd.seg.segread(tmp_path / "a.dcm")
    instances = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    frames = back.get_pixels_by_source_instance(instances, assert_missing_frames_are_empty=True)
    assert np.array_equal(frames[..., 0].astype(bool), mask.transpose(2, 1, 0))
    measures = back.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(5.0, abs=1e-4)


def test_the_patient_is_that_of_the_series_and_what_is_absent_stays_empty(
    series, dicom_series, tmp_path
):
    files, voxels, _ = series
    write_segmentation(tmp_path / "a.dcm", middle(voxels.shape), files, FOUND)
    back = pydicom.dcmread(tmp_path / "a.dcm")
    assert (back.PatientName, back.PatientID) == (dicom_series.PATIENT, dicom_series.PATIENT_ID)
    assert (back.StudyInstanceUID, back.PatientBirthDate) == (dicom_series.STUDY, "")
    assert back.SeriesInstanceUID != pydicom.dcmread(files[0]).SeriesInstanceUID
    assert back.SegmentSequence[0].SegmentLabel == "anomaly T1"
    assert back.Modality == "SEG"


def test_made_again_it_has_the_same_numbers_and_another_model_has_others(series, tmp_path):
    files, voxels, _ = series
    mask = middle(voxels.shape)
    numbers = []
    for name, found in (("a", FOUND), ("b", FOUND), ("c", Found("anomaly T1", "DAL", "cd" * 32))):
        write_segmentation(tmp_path / name, mask, files, found)
        back = pydicom.dcmread(tmp_path / name)
        numbers.append((back.SeriesInstanceUID, back.SOPInstanceUID))
    assert numbers[0] == numbers[1] and not set(numbers[0]) & set(numbers[2])


def test_an_empty_mask_is_written_too(series, tmp_path):
    files, voxels, _ = series
    write_segmentation(tmp_path / "a.dcm", np.zeros(voxels.shape, bool), files, FOUND)
    assert not pydicom.dcmread(tmp_path / "a.dcm").pixel_array.any()


def test_a_series_without_frame_of_reference_is_refused_in_words(dicom_series, tmp_path):
    files = dicom_series.write_series(tmp_path / "in", dicom_series.volume(), te=15, tr=550)
    for file in files:
        header = pydicom.dcmread(file)
        if "FrameOfReferenceUID" in header:
            del header.FrameOfReferenceUID
            header.save_as(file)
    with pytest.raises(InputError, match="no DICOM SEG can be made"):
        write_segmentation(tmp_path / "a.dcm", np.zeros((20, 16, 12), bool), files, FOUND)
    assert not (tmp_path / "a.dcm").exists()


def test_without_highdicom_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(dicom_seg.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"dal-auto\[dicom-seg\]"):
        dicom_seg.require_highdicom()
