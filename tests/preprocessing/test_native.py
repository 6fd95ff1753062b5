"""A case in memory: everything is read, and found wanting, before anything expensive."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.case import Grid, RawCase
from dal_auto.errors import CaseFailed, InputError
from dal_auto.images import write_image
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.native import read_native
from dal_auto.preprocessing.steps import CaseSteps

STEPS = CaseSteps(bias_correct=False, coregister=True, register_to_atlas=False, strip=False)
GRIDS = {
    "FLAIR": Grid((8, 9, 7), np.diag([2.0, 2, 3, 1])),
    "T1": Grid((10, 12, 14), np.diag([1.0, 1, 1, 1])),
    "T2": Grid((10, 12, 5), np.diag([1.0, 1, 3, 1])),
}


def raw(folder: Path, *names: str, **masks: Path) -> RawCase:
    files = {}
    for name in names:
        files[name] = folder / f"{name}.nii.gz"
        image = np.random.default_rng(len(name)).random(GRIDS[name].shape)
        write_image(files[name], image, GRIDS[name])
    return RawCase("D", "a", "p", files, **masks)


def test_a_case_is_read_with_its_masks(tmp_path):
    lesion = tmp_path / "lesion.nii.gz"
    write_image(lesion, np.ones(GRIDS["FLAIR"].shape, bool), GRIDS["FLAIR"])
    case = read_native(raw(tmp_path, "T1", "FLAIR", lesion_mask=lesion), STEPS)
    assert list(case.images) == list(case.grids) == ["T1", "FLAIR"]
    assert case.reference == "T1"
    assert case.brain is None
    assert case.lesion is not None
    assert case.lesion.sequence == "FLAIR"


def test_a_case_without_image_fails_by_name():
    with pytest.raises(CaseFailed, match="case a failed at reading: it has no image"):
        read_native(RawCase("D", "a", "p", {}), STEPS)


@pytest.mark.parametrize("kind", ["lesion_mask", "brain_mask"])
def test_a_mask_on_a_foreign_grid_is_found_at_once(tmp_path, kind):
    path = tmp_path / "foreign.nii.gz"
    write_image(path, np.ones((5, 5, 5), bool), Grid((5, 5, 5), np.eye(4)))
    with pytest.raises(InputError, match="is that of no image"):
        read_native(raw(tmp_path, "T1", **{kind: path}), STEPS)


def test_a_wrong_header_is_put_right_where_the_steps_name_the_true_one(tmp_path):
    path = tmp_path / "T1.nii.gz"
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[100:, 100:, 80:] = np.arange(1, 76)
    write_image(path, image, Grid(ATLAS_GRID.shape, np.eye(4)))
    case = RawCase("D", "a", "p", {"T1": path})
    assert not read_native(case, STEPS).grids["T1"].equals(ATLAS_GRID)
    mended = read_native(case, STEPS.model_copy(update={"true_header": "LPS"}))
    assert mended.grids["T1"].equals(ATLAS_GRID)


SHEAR = np.array([[1, 0, 0, 0], [0, 1, 0.4, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)  # 22 degrees


def test_a_sheared_image_is_worked_on_at_right_angles_and_keeps_its_home(tmp_path):
    """The reference: the same world object, sampled at right angles, is what is worked on."""
    grid = Grid((24, 26, 28), SHEAR @ np.diag([2.0, 2, 2, 1]))

    def ball(of: Grid) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, of.shape), indexing="ij"), -1)
        points = index @ of.affine[:3, :3].T + of.affine[:3, 3]
        middle = grid.affine @ [11.5, 12.5, 13.5, 1]
        return np.clip(16 - np.linalg.norm(points - middle[:3], axis=-1), 0, 8)

    image, mask = tmp_path / "T1.nii.gz", tmp_path / "mask.nii.gz"
    for path, array in ((image, ball(grid)), (mask, ball(grid) > 4)):
        nib.save(nib.Nifti1Image(array.astype(np.float32), grid.affine), path)
    found = read_native(RawCase("D", "a", "p", {"T1": image}, lesion_mask=mask), STEPS)

    straight = found.grids["T1"]
    directions = straight.affine[:3, :3] / straight.spacing_mm
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.images["T1"], ball(straight), atol=0.7)
    np.testing.assert_allclose(found.homes["T1"].affine, grid.affine, atol=1e-6)
    assert found.homes["T1"].shape == grid.shape
    assert found.lesion is not None and found.lesion.mask.shape == straight.shape
    assert 0.95 < found.lesion.mask.sum() / (ball(straight) > 4).sum() < 1.05


def test_a_shear_of_rounding_size_moves_no_voxel(tmp_path):
    shear = SHEAR.copy()
    shear[1, 2] = 2e-3
    array = np.random.default_rng(1).random((10, 12, 14)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, shear), tmp_path / "T1.nii.gz")
    found = read_native(RawCase("D", "a", "p", {"T1": tmp_path / "T1.nii.gz"}), STEPS)
    np.testing.assert_array_equal(found.images["T1"], array)
    assert found.homes["T1"] is found.grids["T1"]


def test_where_a_header_is_wrong_the_way_home_leads_to_the_files_own_world(tmp_path):
    """BraTS-SSA: the axes are right, the origin is not. Maps keep the file's header, so points of
    the result must be the file's."""
    header = np.diag([1.0, 1, 1, 1])
    header[1, 3] = 239
    array = np.zeros(ATLAS_GRID.shape, np.float32)
    array[100:140, 80:120, 60:100] = np.random.default_rng(0).random((40, 40, 40))
    nib.save(nib.Nifti1Image(array, header), tmp_path / "T1.nii.gz")
    steps = STEPS.model_copy(update={"true_header": "RAS"})
    found = read_native(RawCase("D", "a", "p", {"T1": tmp_path / "T1.nii.gz"}), steps)
    np.testing.assert_allclose(found.homes["T1"].affine, header, atol=1e-6)
    voxel = [120, 100, 80, 1]
    np.testing.assert_allclose(found.grids["T1"].affine @ voxel, [-119, 100, 80, 1])
    there = found.to_home["T1"] @ found.grids["T1"].affine @ voxel
    np.testing.assert_allclose(there, [120, 339, 80, 1], atol=1e-6)
