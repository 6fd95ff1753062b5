"""Masks that come with a case are tied to the image whose grid they share, or refused by name."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images import write_image
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.supplied_masks import read_supplied_mask

T1 = Grid((10, 12, 14), np.diag([1.0, 1, 1, 1]))
T2 = Grid((10, 12, 7), np.diag([1.0, 1, 2, 1]))
MASK = np.zeros((10, 12, 7), bool)
MASK[2:5, 3:6, 2:4] = True


def test_a_case_without_the_mask_has_none():
    assert read_supplied_mask(None, "lesion mask", {"T1": T1}, None) is None


def test_the_mask_goes_with_the_image_whose_grid_it_shares(tmp_path):
    write_image(tmp_path / "mask.nii.gz", MASK, T2)
    found = read_supplied_mask(tmp_path / "mask.nii.gz", "lesion mask", {"T1": T1, "T2": T2}, None)
    assert found is not None
    assert found.sequence == "T2"
    np.testing.assert_array_equal(found.mask, MASK)


def test_a_header_of_single_precision_is_the_same_grid(tmp_path):
    rounded = Grid(T2.shape, T2.affine + 0.004)
    write_image(tmp_path / "mask.nii.gz", MASK, rounded)
    found = read_supplied_mask(tmp_path / "mask.nii.gz", "lesion mask", {"T2": T2}, None)
    assert found is not None


@pytest.mark.parametrize("what", ["lesion mask", "brain mask"])
def test_a_grid_of_its_own_is_an_error_that_names_file_grids_and_remedy(tmp_path, what):
    affine = T2.affine.copy()
    affine[0, 3] = 5
    write_image(tmp_path / "mask.nii.gz", MASK, Grid(T2.shape, affine))
    with pytest.raises(InputError, match=f"the {what}'s grid") as caught:
        read_supplied_mask(tmp_path / "mask.nii.gz", what, {"T1": T1, "T2": T2}, None)
    assert caught.value.file == tmp_path / "mask.nii.gz"
    assert (
        "T1 (10, 12, 14) RAS, another shape, T2 (10, 12, 7) RAS, up to 5 mm apart"
        in caught.value.finding
    )
    assert "Resample" in caught.value.remedy


def test_a_mask_whose_header_is_as_wrong_as_the_images_is_put_right_with_it(tmp_path):
    wrong = Grid(ATLAS_GRID.shape, np.diag([1.0, 1, 1, 1]))
    mask = np.zeros(ATLAS_GRID.shape, bool)
    mask[100:120, 100:120, 60:80] = True
    write_image(tmp_path / "mask.nii.gz", mask, wrong)
    found = read_supplied_mask(tmp_path / "mask.nii.gz", "lesion mask", {"T1": ATLAS_GRID}, "LPS")
    assert found is not None


def _image(folder: Path, affine: np.ndarray) -> tuple[Path, np.ndarray, Grid]:
    mask = np.random.default_rng(1).random((8, 9, 10)) > 0.5
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), folder / "mask.nii.gz")
    return folder / "mask.nii.gz", mask, Grid(mask.shape, affine)


def test_a_mask_whose_axes_were_turned_is_turned_back(tmp_path):
    """As fMRIPrep writes masks: RAS, beside a scan in another order."""
    affine = np.array([[0, -2.0, 0, 9], [-1, 0, 0, 8], [0, 0, 3, -7], [0, 0, 0, 1]])
    path, mask, grid = _image(tmp_path, affine)
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    assert nib.load(path).shape == (9, 8, 10)
    found = read_supplied_mask(path, "brain mask", {"T1": grid}, None)
    assert found is not None
    np.testing.assert_array_equal(found.mask, mask)


@pytest.mark.parametrize(("off_mm", "same"), [(0.05, True), (0.4, False)])
def test_a_rounded_origin_is_the_same_grid_and_a_difference_is_named(tmp_path, off_mm, same):
    path, mask, grid = _image(tmp_path, np.eye(4))
    moved = Grid(grid.shape, np.eye(4))
    moved.affine[0, 3] = off_mm
    if same:
        found = read_supplied_mask(path, "brain mask", {"T1": moved}, None)
        assert found is not None and (found.mask == mask).all()
    else:
        with pytest.raises(InputError, match=r"up to 0\.4 mm apart"):
            read_supplied_mask(path, "brain mask", {"T1": moved}, None)
