"""Maps of labels are told from scans that are stored in few values."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.errors import InputError
from dal_auto.images import read_scan
from dal_auto.images.labels import is_label_map

#: Some of FreeSurfer's numbers.
LABELS = (2, 3, 4, 7, 8, 10, 11, 12, 13, 16, 17, 18, 26, 41, 42, 46, 47, 49, 50, 53)
SHAPE = (60, 64, 56)


@pytest.fixture(scope="module")
def head():
    """A ball of smooth tissue in air, in [0, 1]."""
    random = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(random.standard_normal(SHAPE), 2.5)
    tissue = (tissue - tissue.min()) / np.ptp(tissue)
    return np.where(ball(), 0.2 + 0.8 * tissue, 0)


@pytest.fixture(scope="module")
def labels():
    """A ball of structures, each the voxels nearest to a point of its own."""
    random = np.random.default_rng(1)
    points = np.ones(SHAPE, bool)
    where = tuple(random.integers(8, size - 8, len(LABELS)) for size in SHAPE)
    points[where] = False
    numbers = np.zeros(SHAPE, np.int16)
    numbers[where] = LABELS
    nearest = ndimage.distance_transform_edt(points, return_distances=False, return_indices=True)
    return np.where(ball(), numbers[tuple(nearest)], 0).astype(np.int16)


def ball():
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    return sum(axis**2 for axis in axes) < 0.9


def judge(array):
    return is_label_map(array.astype(np.float32), np.unique(array).astype(np.float32))


def save(path, array):
    nib.save(nib.Nifti1Image(array, np.diag([3, 3, 3, 1])), path)
    return path


def test_a_label_map_is_refused_by_name(tmp_path, labels):
    with pytest.raises(InputError, match=r"aseg_T1\.nii\.gz: .*a label map, and no scan"):
        read_scan(save(tmp_path / "aseg_T1.nii.gz", labels))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("levels", [12, 16, 64, 255])
def test_a_scan_of_few_values_is_none(tmp_path, head, levels, noise):
    random = np.random.default_rng(2)
    noisy = np.where(head > 0, head + noise * random.standard_normal(SHAPE), 0)
    stored = np.round(np.clip(noisy, 0, 1) * levels).astype(np.uint8)
    read_scan(save(tmp_path / "scan_T1.nii.gz", stored))


def test_neither_padding_nor_doubled_voxels_make_a_scan_a_label_map(head):
    random = np.random.default_rng(3)
    stored = np.round(np.clip(head + 0.1 * random.standard_normal(SHAPE), 0, 1) * 40)
    stored[~ball()] = 1
    padded = np.pad(stored, 20)
    assert not judge(padded)
    assert not judge(stored.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_regions_whose_values_are_no_whole_numbers_are_none(labels):
    assert judge(labels) and not judge(labels * 0.3)
