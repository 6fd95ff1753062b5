"""The fingerprint says what is there, whatever the record claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dal_auto.case import Grid, RawCase
from dal_auto.images import Volume, write_image
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.fingerprint import case as module
from dal_auto.preprocessing.fingerprint import image as image_module
from dal_auto.preprocessing.fingerprint.dataset import (
    Fingerprint,
    fingerprint_case,
    fingerprint_dataset,
)
from dal_auto.preprocessing.fingerprint.image import fingerprint_image
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


def volume(image: np.ndarray, grid: Grid = GRID) -> Volume:
    return Volume(image, grid, "float32")


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


@pytest.mark.parametrize(
    ("off_mm", "code"), [(0.0, None), (0.05, "mask-shifted"), (9.0, "mask-grid")]
)
def test_a_given_brain_mask_is_compared_with_the_images_turned_or_not(tmp_path, off_mm, code):
    case = case_of(tmp_path, T1=brain())
    image = nib.Nifti1Image((brain() > 0).astype(np.uint8), GRID.affine)
    turned = nib.as_closest_canonical(image)
    assert nib.aff2axcodes(turned.affine) != nib.aff2axcodes(GRID.affine)
    turned.affine[0, 3] += off_mm
    nib.save(nib.Nifti1Image(turned.dataobj, turned.affine), tmp_path / "brain.nii.gz")
    found = fingerprint_case(replace(case, brain_mask=tmp_path / "brain.nii.gz"))
    told = {finding.code: str(finding) for finding in found.findings}
    assert set(told) == ({code} if code else set())
    assert all(words.startswith("brain mask: ") for words in told.values())
    assert code != "mask-grid" or "up to 9 mm apart" in told[code]


def test_grid_and_intensities_are_measured():
    image = brain()
    image[6, 11, 9:12] = -7
    found = fingerprint_image(volume(image))
    assert (found.shape, found.spacing_mm, found.axcodes) == (GRID.shape, (4, 4, 4), "LPS")
    assert (found.minimum, found.maximum) == (-7, image.max())
    assert found.negative_voxels == 3
    assert found.nonzero_ml == pytest.approx(27 * 32 * 25 * 0.064)
    assert found.oblique_degrees == 0
    assert found.dtype == "float32"
    np.testing.assert_allclose(
        found.percentiles, np.percentile(image[image != 0], (1, 50, 99)), rtol=1e-5
    )


def test_percentiles_of_many_voxels_are_those_of_a_part(monkeypatch):
    monkeypatch.setattr(image_module, "_ENOUGH_VOXELS", 500)
    image = brain()
    found = fingerprint_image(volume(image)).percentiles
    np.testing.assert_allclose(found, np.percentile(image[image != 0], (1, 50, 99)), atol=2)


def test_the_hash_is_of_voxels_and_shape_whatever_their_order_in_memory():
    image = brain()
    first = fingerprint_image(volume(image)).voxels_sha256
    assert fingerprint_image(volume(np.asfortranarray(image))).voxels_sha256 == first
    turned = image.reshape(image.shape[::-1])
    assert fingerprint_image(volume(turned)).voxels_sha256 != first
    image[20, 20, 20] += 1e-3
    assert fingerprint_image(volume(image)).voxels_sha256 != first


def test_the_bias_share_grows_with_a_field_and_not_with_noise():
    flat = (brain() != 0) * np.float32(100)
    ramp = np.exp(0.8 * np.linspace(-1, 1, GRID.shape[1], dtype=np.float32))[None, :, None]
    assert fingerprint_image(volume(brain())).bias_share < 0.02
    assert fingerprint_image(volume(flat)).bias_share < 1e-3
    assert 0.15 < fingerprint_image(volume(flat * ramp)).bias_share < 0.6


@pytest.mark.parametrize("degrees", [0, 3.5, 20])
def test_obliqueness_is_the_angle_to_the_nearest_world_axis(rigid, degrees):
    axes = np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    grid = Grid(GRID.shape, rigid((0, 0, degrees)) @ axes @ np.diag([1, 2, 3, 1]))
    found = fingerprint_image(volume(brain(), grid))
    assert found.oblique_degrees == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("image", "stripped"),
    [(brain(), True), (brain(0.3), True), (brain(0.05), False), (head(), False)],
    ids=["brain", "a part of one", "a crumb", "head in air"],
)
def test_stripped_is_what_has_the_volume_of_a_brain(image, stripped):
    assert fingerprint_image(volume(image)).stripped is stripped


@pytest.mark.parametrize(("shift", "registered"), [(4, True), (40, False)])
def test_a_brain_on_the_atlas_is_registered_and_one_beside_it_is_not(
    toy_atlas, tmp_path, shift, registered
):
    grey = toy_atlas.image * np.linspace(1, 2, ATLAS_GRID.shape[2])
    write_image(tmp_path / "T1.nii.gz", np.roll(grey, shift, axis=0), ATLAS_GRID)
    found = fingerprint_case(RawCase("D", "a", "a", {"T1": tmp_path / "T1.nii.gz"}))
    assert found.images["T1"].atlas_dice == pytest.approx((100 - shift) / 100)
    assert found.registered is registered


def test_only_a_stripped_image_in_the_atlas_box_can_be_registered(toy_atlas, tmp_path):
    assert fingerprint_case(case_of(tmp_path, T1=brain())).images["T1"].atlas_dice is None
    air = np.random.default_rng(1).uniform(0.5, 1.5, ATLAS_GRID.shape)
    write_image(tmp_path / "T1.nii.gz", toy_atlas.image + air, ATLAS_GRID)
    found = fingerprint_case(RawCase("D", "a", "a", {"T1": tmp_path / "T1.nii.gz"}))
    assert found.images["T1"].atlas_dice is None and not found.registered


@pytest.mark.parametrize(
    ("number", "dice", "registered"), [("00000", 0.92, True), ("00014", 0.79, False)]
)
def test_a_published_case_that_lies_turned_is_to_be_registered_again(
    atlas, test_data, monkeypatch, number, dice, registered
):
    """00014 lies 17° away from the atlas (greedy's matrix).

    Nothing else about them is odd: no warning of a measurement may be a false one.
    """
    monkeypatch.setattr(module, "load_atlas", lambda file=None: atlas)
    stem = test_data / "brats_gli" / f"BraTS2021_{number}" / f"BraTS2021_{number}"
    files = {name: Path(f"{stem}_{name.lower()}.nii.gz") for name in ("T1", "T2")}
    mask = Path(f"{stem}_seg.nii.gz")
    if not mask.is_file():
        pytest.skip(f"{mask} is not there")
    found = fingerprint_case(RawCase("D", number, number, files, mask))
    assert found.stripped and found.registered is registered
    assert found.images["T1"].atlas_dice == pytest.approx(dice, abs=0.01)
    assert found.images["T1"].dtype == "int16"
    assert found.lesion_labels == (1, 2, 4) and found.lesion_labels_integer
    assert found.lesion_outside_share == 0
    assert found.sequence_correlation < -0.2
    assert found.findings == ()


def test_real_scans_with_skull_raise_no_false_alarm(atlas, test_data, monkeypatch):
    monkeypatch.setattr(module, "load_atlas", lambda file=None: atlas)
    folder = test_data / "mslub_raw"
    names = {"T1": "T1W", "T2": "T2W", "FLAIR": "FLAIR"}
    for number in ("01", "04", "12"):
        files = {
            name: folder / f"patient{number}_study1_{word}.nii.gz" for name, word in names.items()
        }
        if not files["T1"].is_file():
            pytest.skip(f"{files['T1']} is not there")
        found = fingerprint_case(RawCase("D", number, number, files))
        assert found.findings == ()
        assert not found.stripped and not found.one_grid and found.brain_ml is None
        assert found.images["T1"].oblique_degrees > 3
        swapped = fingerprint_case(
            RawCase("D", number, number, {"T1": files["T2"], "T2": files["T1"]})
        )
        assert any("swapped" in str(finding) for finding in swapped.findings)


def test_images_that_share_grid_and_pose_are_found_to(tmp_path):
    found = fingerprint_case(case_of(tmp_path, T1=brain(), T2=brain() * 2))
    assert found.one_grid
    assert found.nonzero_overlap == 1
    assert found.stripped
    assert not found.registered
    moved = fingerprint_case(case_of(tmp_path, T1=brain(), T2=np.roll(brain(), 9, axis=0)))
    assert moved.nonzero_overlap == pytest.approx(18 / 27, abs=1e-4)
    assert any("overlap by 0.67 only" in str(finding) for finding in moved.findings)


def test_the_brains_volume_is_that_of_its_largest_piece(tmp_path):
    image = brain()
    image[40:42, 50:52, 36:38] = 5
    found = fingerprint_case(case_of(tmp_path, T1=image, T2=brain(0.5)))
    assert found.brain_ml == pytest.approx(27 * 32 * 25 * 0.064, abs=0.01)
    assert fingerprint_case(case_of(tmp_path, T1=head())).brain_ml is None


def test_t1_and_t2_are_correlated_inside_what_both_show(tmp_path):
    image = brain()
    found = fingerprint_case(case_of(tmp_path, T1=image, T2=(image != 0) * (200 - image)))
    assert found.sequence_correlation == pytest.approx(-1)
    case = case_of(tmp_path, T1=image, T2=image)
    write_image(case.sequences["T2"], image[1:], Grid((43, 54, 40), GRID.affine))
    assert fingerprint_case(case).sequence_correlation is None


def test_oddities_are_said_in_words(tmp_path):
    image = brain()
    image[8, 12, 10] = -3
    thick = Grid(GRID.shape, np.diag([4.0, 4, 5, 1]))
    case = case_of(tmp_path, T1=image, T2=head())
    write_image(case.sequences["T2"], head(), thick)
    found = [str(finding) for finding in fingerprint_case(case).findings]
    assert "T1: 1 voxels below 0, down to -3; they become 0" in found
    assert "T2: slices of 5.0 mm" in found
    assert "T2 with skull, the others stripped" in found


@pytest.mark.parametrize(
    ("size", "spacing_mm", "code"),
    [(4e-3, 4, "unit-of-length"), (4e3, 4, "unit-of-length"), (0.05, 0.05, "field-of-view")],
)
def test_a_header_in_other_units_is_noticed(tmp_path, size, spacing_mm, code):
    write_image(tmp_path / "T1.nii", head(), Grid(GRID.shape, np.diag([size, size, size, 1])))
    found = fingerprint_case(RawCase("D", "a", "a", {"T1": tmp_path / "T1.nii"}))
    assert [finding.code for finding in found.findings] == [code]
    assert found.images["T1"].spacing_mm == pytest.approx((spacing_mm,) * 3)


def test_sform_and_qform_in_conflict_are_measured_and_said(tmp_path):
    image = nib.Nifti1Image(brain(), GRID.affine)
    moved = GRID.affine.copy()
    moved[0, 3] += 7.5
    image.set_sform(GRID.affine, 1)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "T1.nii")
    found = fingerprint_case(RawCase("D", "a", "a", {"T1": tmp_path / "T1.nii"}))
    assert found.images["T1"].forms_conflict_mm == pytest.approx(7.5)
    (finding,) = found.findings
    assert str(finding) == "T1: sform and qform disagree by up to 7.5 mm, the sform is used"
    assert (finding.code, finding.value, finding.limit) == ("forms-conflict", 7.5, 0.1)


def test_a_sequence_copied_from_another_is_noticed(tmp_path):
    found = fingerprint_case(case_of(tmp_path, T1=brain(), T2=brain()))
    assert "two of its sequences have the same voxels" in [str(f) for f in found.findings]


def test_the_same_voxels_under_two_ids_are_noticed(tmp_path):
    cases = []
    for name, share in (("a", 1.0), ("b", 0.9), ("c", 1.0)):
        case = case_of(tmp_path / name, T1=brain(share))
        cases.append(RawCase("D", name, name, case.sequences))
    found = fingerprint_dataset("D", cases, workforce=Workforce(1))
    (ours,), (theirs,) = found.case("a").findings, found.case("c").findings
    assert (str(ours), str(theirs)) == ("T1 has the voxels of c T1", "T1 has the voxels of a T1")
    assert ours.code == theirs.code == "same-voxels" and found.case("b").findings == ()


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
    assert f"{bad}.nii.gz: the file is empty" in found.failure
    assert found.images == {}


def test_a_dataset_keeps_its_order_names_its_failures_and_survives_json(tmp_path, caplog):
    cases = []
    for name in ("c", "a", "b"):
        case = case_of(tmp_path / name, T1=brain(), lesion=brain() > 80)
        cases.append(RawCase("D", name, name, case.sequences, case.lesion_mask))
    (tmp_path / "a" / "T1.nii.gz").unlink()
    found = fingerprint_dataset("D", cases, workforce=Workforce(1))
    assert [case.case_id for case in found.cases] == ["c", "a", "b"]
    assert "no such file" in found.case("a").failure
    assert "a: " in caplog.text
    summary = "\n".join(found.summary())
    assert "3 cases, 2 readable" in summary
    assert "T1: 2 images, stripped 2, on the atlas 0" in summary
    assert "44×54×40 at 4.00×4.00×4.00 mm LPS (2)" in summary
    assert "lesion masks: 2" in summary
    found.save(tmp_path / "fingerprint.json")
    assert Fingerprint.load(tmp_path / "fingerprint.json") == found
