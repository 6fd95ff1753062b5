"""The fingerprint says what is there, whatever the record claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dal_auto.case import Grid, RawCase
from dal_auto.nifti import read_image, write_image
from dal_auto.preprocessing import fingerprint as module
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.fingerprint import (
    CaseFingerprint,
    Fingerprint,
    fingerprint_case,
    fingerprint_dataset,
    fingerprint_image,
)
from dal_auto.workers import Workforce

GRID = Grid((44, 54, 40), np.diag([-4.0, -4, 4, 1]))


@pytest.fixture(autouse=True)
def toy_atlas(monkeypatch) -> Atlas:
    """A box for a brain, so that no template is needed."""
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[70:170, 50:160, 10:140] = 1
    atlas = Atlas("toy", image, "")
    monkeypatch.setattr(module, "load_atlas", lambda file=None: atlas)
    return atlas


def brain(share: float = 1.0) -> np.ndarray:
    """A box of `share` times 1382 ml in air that is exactly 0."""
    image = np.zeros(GRID.shape, np.float32)
    size = round(27 * share)
    image[5 : 5 + size, 10:42, 8:33] = np.random.default_rng(0).uniform(50, 90, (size, 32, 25))
    return image


def head() -> np.ndarray:
    return brain() + np.random.default_rng(1).uniform(1, 9, GRID.shape).astype(np.float32)


def case_of(folder: Path, lesion: np.ndarray | None = None, **images: np.ndarray) -> RawCase:
    for name, image in {**images, **({} if lesion is None else {"lesion": lesion})}.items():
        write_image(folder / f"{name}.nii.gz", image, GRID)
    return RawCase(
        "D",
        "a",
        "a",
        {name: folder / f"{name}.nii.gz" for name in images},
        lesion_mask=None if lesion is None else folder / "lesion.nii.gz",
    )


def test_grid_and_intensities_are_measured(toy_atlas):
    image = brain()
    image[6, 11, 9:12] = -7
    found = fingerprint_image(image, GRID, toy_atlas)
    assert (found.shape, found.spacing_mm, found.axcodes) == (GRID.shape, (4, 4, 4), "LPS")
    assert (found.minimum, found.maximum) == (-7, image.max())
    assert found.negative_voxels == 3
    assert found.nonzero_ml == pytest.approx(27 * 32 * 25 * 0.064)
    assert found.oblique_degrees == 0


@pytest.mark.parametrize("degrees", [0, 3.5, 20])
def test_obliqueness_is_the_angle_to_the_nearest_world_axis(toy_atlas, rigid, degrees):
    axes = np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    grid = Grid(GRID.shape, rigid((0, 0, degrees)) @ axes @ np.diag([1, 2, 3, 1]))
    assert fingerprint_image(brain(), grid, toy_atlas).oblique_degrees == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("image", "stripped"),
    [(brain(), True), (brain(0.5), True), (brain(0.3), False), (head(), False)],
    ids=["brain", "small brain", "a part of one", "head in air"],
)
def test_stripped_is_what_has_the_volume_of_a_brain(toy_atlas, image, stripped):
    assert fingerprint_image(image, GRID, toy_atlas).stripped is stripped


@pytest.mark.parametrize(("shift", "registered"), [(5, True), (40, False)])
def test_a_brain_on_the_atlas_is_registered_and_one_beside_it_is_not(toy_atlas, shift, registered):
    image = np.roll(toy_atlas.image, shift, axis=0)
    found = fingerprint_image(image, ATLAS_GRID, toy_atlas)
    assert found.atlas_dice == pytest.approx((100 - shift) / 100)
    assert CaseFingerprint(case_id="a", images={"T1": found}).registered is registered


def test_only_an_image_on_the_atlas_grid_can_be_registered(toy_atlas):
    assert fingerprint_image(brain(), GRID, toy_atlas).atlas_dice is None


@pytest.mark.parametrize(("number", "dice"), [("00000", 0.92), ("00014", 0.79)])
def test_published_cases_count_as_registered_also_where_one_lies_turned(
    atlas, test_data, number, dice
):
    """00014 lies 17° away from the atlas (greedy's matrix), and is taken as it comes."""
    path = test_data / "brats_gli" / f"BraTS2021_{number}" / f"BraTS2021_{number}_t1.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    found = fingerprint_image(*read_image(path), atlas)
    assert found.stripped
    assert found.atlas_dice == pytest.approx(dice, abs=0.01)
    assert CaseFingerprint(case_id=number, images={"T1": found}).registered


def test_images_that_share_grid_and_pose_are_found_to(tmp_path):
    found = fingerprint_case(case_of(tmp_path, T1=brain(), T2=brain() * 2))
    assert found.one_grid
    assert found.nonzero_overlap == 1
    assert found.stripped
    assert not found.registered
    moved = fingerprint_case(case_of(tmp_path, T1=brain(), T2=np.roll(brain(), 9, axis=0)))
    assert moved.nonzero_overlap == pytest.approx(18 / 27, abs=1e-4)


def test_images_on_two_grids_are_found_to_be(tmp_path):
    case = case_of(tmp_path, T1=brain(), T2=brain())
    write_image(case.sequences["T2"], brain()[1:], Grid((43, 54, 40), GRID.affine))
    assert not fingerprint_case(case).one_grid


def test_one_head_with_skull_makes_a_case_unstripped(tmp_path):
    assert not fingerprint_case(case_of(tmp_path, T1=brain(), T2=head())).stripped


def test_lesions_are_measured_and_none_is_not_zero(tmp_path):
    lesion = np.zeros(GRID.shape, bool)
    assert fingerprint_case(case_of(tmp_path, T1=brain(), lesion=lesion)).lesion_ml == 0
    lesion[10:15, 20:24, 10:13] = True
    found = fingerprint_case(case_of(tmp_path, T1=brain(), lesion=lesion))
    assert found.lesion_ml == pytest.approx(60 * 0.064)
    assert fingerprint_case(case_of(tmp_path, T1=brain())).lesion_ml is None


@pytest.mark.parametrize("bad", ["T2", "lesion"])
def test_a_file_that_cannot_be_read_is_the_cases_finding(tmp_path, bad):
    case = case_of(tmp_path, T1=brain(), T2=brain(), lesion=np.zeros(GRID.shape, bool))
    (tmp_path / f"{bad}.nii.gz").write_bytes(b"")
    found = fingerprint_case(case)
    assert f"{bad}.nii.gz: the file is empty" in found.finding
    assert found.images == {}


def test_a_dataset_keeps_its_order_names_its_failures_and_survives_json(tmp_path, caplog):
    cases = []
    for name in ("c", "a", "b"):
        case = case_of(tmp_path / name, T1=brain(), lesion=brain() > 80)
        cases.append(RawCase("D", name, name, case.sequences, case.lesion_mask))
    (tmp_path / "a" / "T1.nii.gz").unlink()
    found = fingerprint_dataset("D", cases, workforce=Workforce(1))
    assert [case.case_id for case in found.cases] == ["c", "a", "b"]
    assert "no such file" in found.case("a").finding
    assert "a: " in caplog.text
    summary = "\n".join(found.summary())
    assert "3 cases, 2 readable" in summary
    assert "T1: 2 images; 44×54×40 at 4.00×4.00×4.00 mm LPS (2); stripped 2" in summary
    assert "lesion masks: 2" in summary
    found.save(tmp_path / "fingerprint.json")
    assert Fingerprint.load(tmp_path / "fingerprint.json") == found
