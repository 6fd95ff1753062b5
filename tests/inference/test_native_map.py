"""The joint map of a case, and what lies beside its maps: brain mask, transform, BIDS names."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from dal_auto.case import Geometry, Grid
from dal_auto.errors import UsageError
from dal_auto.images import write_image
from dal_auto.inference.export import standard_grid
from dal_auto.inference.layout import bids_entities
from dal_auto.methods.checkpoint import load_checkpoint, save_checkpoint
from dal_auto.preprocessing.resampling import resample


def volume(maps, name) -> np.ndarray:
    return nib.load(maps / f"{name}.nii.gz").get_fdata(dtype=np.float32)


def test_the_joint_map_is_the_weighted_mean_of_the_roots(predicting, scans, tmp_path):
    predicting(scans("a"))
    maps = tmp_path / "maps"
    joint = volume(maps, "a_joint_anomaly")
    roots = [np.sqrt(volume(maps, f"a_{name}_anomaly") / 0.25) for name in ("T1", "T2")]
    expected = ((roots[0] + 2 * roots[1]) / 3) ** 2
    np.testing.assert_allclose(joint, expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_array_equal(volume(maps, "a_joint_mask"), joint >= 1)
    rows = pd.read_csv(maps / "cases.csv").set_index("sequence")
    assert rows.loc["joint", "threshold"] == 1 and rows.loc["joint", "anomaly_ml"] > 0
    assert "joint" in set(pd.read_csv(maps / "components.csv")["sequence"])
    beside = json.loads((maps / "a_joint_anomaly.json").read_text())
    assert beside["Sources"] == ["a_T1.nii.gz", "a_T2.nii.gz"]
    assert "mean of the square roots of the sequences' scores" in beside["score"]["meaning"]
    assert beside["score"]["meaning"].endswith("weights: T1 1, T2 2")
    assert not (maps / "a_joint_pseudo-healthy.nii.gz").exists()


def test_the_joint_map_is_in_multiples_of_its_own_threshold(predicting, run, scans, tmp_path):
    """Of these sequences; another pair's says nothing. A threshold of the user changes nothing."""
    predicting(scans("a"))
    plain = volume(tmp_path / "maps", "a_joint_anomaly")
    kept = load_checkpoint(run.checkpoint_path)
    own = {"T1+T2": 0.5, "FLAIR+T1": 0.125}
    save_checkpoint(run.checkpoint_path, replace(kept, joint_thresholds=own))
    predicting(scans("a"))
    maps = tmp_path / "maps"
    scaled = volume(maps, "a_joint_anomaly")
    np.testing.assert_allclose(scaled, 2 * plain, rtol=2e-3, atol=1e-3)
    np.testing.assert_array_equal(volume(maps, "a_joint_mask"), scaled >= 1)
    beside = json.loads((maps / "a_joint_anomaly.json").read_text())
    assert beside["score"]["meaning"].endswith("the whole over 0.5, its own threshold")
    assert beside["threshold_source"].startswith("exceeded by 0.10%")
    assert beside["false_positive_rate"] == 0.001
    predicting(scans("a"), threshold=0.125)
    np.testing.assert_array_equal(volume(maps, "a_joint_anomaly"), scaled)
    np.testing.assert_array_equal(volume(maps, "a_joint_mask"), scaled >= 1)
    assert json.loads((maps / "a_joint_anomaly.json").read_text()) == beside
    assert (volume(maps, "a_T1_mask") == (volume(maps, "a_T1_anomaly") >= 0.125)).all()


def test_a_case_of_one_sequence_has_no_joint_map(predicting, scans, tmp_path):
    predicting(scans("a", sequences=("T2",)))
    assert not list((tmp_path / "maps").glob("*joint*"))


def test_the_brain_mask_lies_on_the_scan_and_the_window_puts_the_threshold_in_its_middle(
    predicting, scans, tmp_path, case
):
    predicting(scans("a"))
    maps = tmp_path / "maps"
    np.testing.assert_array_equal(volume(maps, "a_T1_brain-mask") > 0, case.brain_mask)
    header = nib.load(maps / "a_T1_anomaly.nii.gz").header
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0.0, 0.5)


def test_the_brain_mask_of_a_slab_is_the_part_that_it_shows(
    predicting, prepared, scans, tmp_path, case
):
    """The same in the scan's space and in the atlas's; the other sequence's mask is whole."""
    part = case.brain_mask.copy()
    part[..., :20] = False

    def prepare(task):
        found = prepared(task)
        return replace(found, case=replace(found.case, shown={"T2": part}))

    predicting(scans("a"), prepare, save=frozenset({"atlas-space"}))
    maps = tmp_path / "maps"
    for name, mask in (("T1", case.brain_mask), ("T2", part)):
        np.testing.assert_array_equal(volume(maps, f"a_{name}_brain-mask") > 0, mask)
        np.testing.assert_array_equal(volume(maps, f"a_{name}_brain-mask_space-atlas") > 0, mask)


def test_both_transforms_bring_the_scan_to_the_atlas(predicting, prepared, scans, plans, tmp_path):
    """SimpleITK with the .tfm and ours with the text give one image, of a turned, shifted scan."""
    (case,) = scans("a", sequences=("T1",))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.2, -0.1, 0.15)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = (4, -6, 3)
    grid = Grid((48, 48, 48), matrix @ standard_grid(plans).affine)
    axes = np.meshgrid(*[np.linspace(0, 3, 48)] * 3, indexing="ij")
    image = np.sin(axes[0]) + axes[1] * np.cos(axes[2]) + 2
    write_image(case.sequences["T1"], image, grid)

    def prepare(task):
        found = prepared(task)
        geometry = Geometry({"T1": grid}, {"T1": matrix})
        return replace(found, case=replace(found.case, geometry=geometry))

    predicting([case], prepare)
    maps, target = tmp_path / "maps", standard_grid(plans)
    text = np.loadtxt(maps / "a_T1_to-atlas.txt")
    ours = resample(image.astype(np.float32), grid, target, text)
    np.testing.assert_allclose(ours, image, atol=1e-4)
    scan = sitk.ReadImage(str(case.sequences["T1"]), sitk.sitkFloat32)
    write_image(tmp_path / "target.nii.gz", image, target)
    moved = sitk.Resample(
        scan,
        sitk.ReadImage(str(tmp_path / "target.nii.gz")),
        sitk.ReadTransform(str(maps / "a_T1_to-atlas.tfm")),
        sitk.sitkLinear,
    )
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(sitk.GetArrayFromImage(moved).T[inner], ours[inner], atol=1e-3)


def test_bids_names_and_what_describes_the_dataset(predicting, scans, tmp_path):
    predicting(scans("sub-01_ses-2"), layout="bids", save=frozenset({"atlas-space"}))
    maps = tmp_path / "maps"
    stem = "sub-01/ses-2/anat/sub-01_ses-2"
    for name in (
        "desc-anomaly_T1w.nii.gz", "desc-anomaly_T1w.json", "desc-pseudohealthy_T2w.nii.gz",
        "label-anomaly_desc-T2w_mask.nii.gz", "label-brain_desc-T1w_mask.nii.gz",
        "label-anomaly_desc-joint_mask.nii.gz", "desc-jointanomaly_T1w.nii.gz",
        "space-SRI24_desc-anomaly_T1w.nii.gz", "from-T1w_to-SRI24_mode-image_xfm.tfm",
    ):  # fmt: skip
        assert (maps / f"{stem}_{name}").is_file(), name
    described = json.loads((maps / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and "BIDSVersion" in described
    assert (maps / "sub-01/ses-2/figures/sub-01_ses-2_desc-T1w.png").is_file()
    assert f'href="{stem}_desc-anomaly_T1w.nii.gz"' in (maps / "index.html").read_text()
    assert predicting(scans("sub-01_ses-2"), layout="bids", save=frozenset({"atlas-space"})).kept


@pytest.mark.parametrize(
    ("case_id", "expected"),
    [("sub-01", "sub-01"), ("sub-01_ses-2_x", "sub-01_ses-2"), ("study-1a", "sub-study1a")],
)
def test_every_case_has_a_bids_name(case_id, expected):
    assert bids_entities(case_id) == expected


def test_two_cases_of_one_bids_name_are_an_error(predicting, scans):
    with pytest.raises(UsageError, match="both be sub-ab"):
        predicting(scans("a-b", "ab"), layout="bids")
