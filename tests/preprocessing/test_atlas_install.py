"""A downloaded SRI24 is taken whatever its header and skull; anything else is refused, and why."""

from __future__ import annotations

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid
from dal_auto.errors import InputError
from dal_auto.images import write_image
from dal_auto.preprocessing import atlas as atlas_module
from dal_auto.preprocessing import atlas_install as module
from dal_auto.preprocessing.atlas import ATLAS_GRID, load_atlas
from dal_auto.preprocessing.atlas_install import install_atlas, installed_path
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool


@pytest.fixture(autouse=True)
def own_home(atlas, tmp_path, monkeypatch):
    """A DAL_HOME of its own, and no atlas remembered from or for other tests."""
    monkeypatch.setenv("DAL_HOME", str(tmp_path / "home"))
    yield
    load_atlas.cache_clear()


@pytest.fixture
def nitrc(atlas, tmp_path):
    """Write voxels (LPS) as NITRC's spm8 archive might: other axes, and the origin elsewhere."""

    def write(image=atlas.image, name="T1_brain.nii", axcodes="LAS", spacing_mm=1.0):
        folder = tmp_path / "templates"
        folder.mkdir(exist_ok=True)
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(axcodes)
        )
        turned = nib.apply_orientation(image, turn)
        affine = ATLAS_GRID.affine @ nib.orientations.inv_ornt_aff(turn, image.shape)
        affine[:3, :3] *= spacing_mm
        affine[:3, 3] += (3, -7, 11)
        x, y, z = turned.shape
        write_image(folder / name, turned, Grid((x, y, z), affine))
        return folder / name

    return write


@pytest.mark.parametrize("axcodes", ["LAS", "RAS", "SPR"])
def test_the_stripped_template_comes_to_lie_in_the_box_whatever_its_header(atlas, nitrc, axcodes):
    file = nitrc(axcodes=axcodes)
    found = install_atlas(file)
    np.testing.assert_array_equal(found.image, atlas.image)
    assert (found.name, found.sha256) == ("SRI24", atlas.sha256)
    assert load_atlas().sha256 == atlas.sha256
    assert installed_path().is_file()


def test_what_was_taken_is_recorded_with_its_hashes(atlas, nitrc, caplog):
    file = nitrc()
    with caplog.at_level("INFO"):
        install_atlas(file)
    record = json.loads(installed_path().with_name("sri24_t1_stripped.json").read_text())
    assert record["source"] == "T1_brain.nii"
    assert record["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["voxels_sha256"] == atlas.sha256
    assert record["same_voxels_as"] == module.KNOWN_SHA256.get(atlas.sha256)
    assert record["stripped_by"] is None
    assert record["compared_with"] == "SRI24, correlation 1.000"
    assert "CC BY-SA" in record["licence"]
    assert atlas.sha256 in caplog.text


@pytest.fixture
def head(atlas):
    """The atlas in a skull and a scalp."""
    shell = ndimage.binary_dilation(atlas.brain_mask[::3, ::3, ::3], iterations=5)
    shell = shell.repeat(3, 0).repeat(3, 1).repeat(3, 2)[:240, :240, :155]
    return np.where(atlas.brain_mask, atlas.image, shell * 300.0).astype(np.float32)


def test_one_with_skull_is_stripped_by_the_brain_beside_it(atlas, nitrc, head):
    nitrc(axcodes="RAS")
    found = install_atlas(nitrc(head, "T1.nii"))
    np.testing.assert_array_equal(found.image, atlas.image)
    record = json.loads(installed_path().with_name("sri24_t1_stripped.json").read_text())
    assert record["stripped_by"] == "T1_brain.nii beside it"


def test_one_with_skull_alone_is_stripped_by_deepbet(atlas, nitrc, head, monkeypatch):
    def find(image, grid):
        assert grid is ATLAS_GRID
        np.testing.assert_array_equal(image, head)
        return atlas.brain_mask

    monkeypatch.setitem(TOOLS, "deepbet", Tool(find, lambda: "fake 1"))
    found = install_atlas(nitrc(head, "T1.nii"))
    assert (found.brain_mask != atlas.brain_mask).mean() < 1e-3
    record = json.loads(installed_path().with_name("sri24_t1_stripped.json").read_text())
    assert record["stripped_by"] == "fake 1"


def assert_refused(file, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        install_atlas(file)
    assert all(word in str(caught.value) for word in (file.name, *words)), caught.value
    assert not installed_path().exists()


def test_another_grid_is_refused_with_both(nitrc):
    assert_refused(nitrc(spacing_mm=1.1), "1.1×1.1×1.1 mm", "240×240×155 voxels of 1 mm")


def test_another_shape_is_refused(atlas, nitrc):
    assert_refused(nitrc(atlas.image[:200]), "200×240×155")


def test_another_place_is_refused(atlas, nitrc):
    assert_refused(nitrc(np.roll(atlas.image, 8, axis=1)), "(119, 143, 77)", "(119, 135, 77)")


@pytest.mark.parametrize("turned", ["left-right", "noise"])
def test_what_does_not_show_sri24_is_refused(atlas, nitrc, turned):
    image = atlas.image[::-1] if turned == "left-right" else atlas.brain_mask * 5.0
    image = image + atlas.brain_mask * np.random.default_rng(0).random(image.shape)
    assert_refused(nitrc(image.astype(np.float32)), "it correlates by", "SRI24")


def test_without_sri24_installed_it_is_compared_with_the_stand_in(atlas, nitrc, monkeypatch):
    monkeypatch.setattr(module, "bundled_sri24", lambda: None)
    if atlas_module.stand_in_atlas() is None:
        pytest.skip("no ICBM152 template is installed")
    upside_down = atlas.image[:, :, ::-1]
    assert_refused(nitrc(upside_down, "turned.nii"), "ICBM152")
    found = install_atlas(nitrc())
    assert found.sha256 == atlas.sha256


def test_with_no_template_at_all_its_brain_alone_is_judged_and_that_is_said(
    atlas, nitrc, monkeypatch, caplog
):
    for name in ("bundled_sri24", "stand_in_atlas"):
        monkeypatch.setattr(module, name, lambda: None)
    assert install_atlas(nitrc()).sha256 == atlas.sha256
    assert "judged by its brain alone" in caplog.text
