"""What lies in the folder: maps on the scan's grid and the atlas's, the sidecar, the picture."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from dal_auto.case import Geometry, Grid
from dal_auto.images import write_image
from dal_auto.inference.export import standard_grid
from dal_auto.inference.limits import LIMITS
from dal_auto.inference.outputs import panel_volumes
from dal_auto.inference.predictor import Prediction
from dal_auto.scoring.pooled_curve import rounded

ALL = frozenset({"pseudo-healthy", "mask", "anatomy", "atlas-space"})


@pytest.fixture
def anatomy(monkeypatch):
    """The method gives an anatomy, too."""
    from dal_auto.inference import model

    def predict(method, case, sequence, device):
        found = real(method, case, sequence, device)
        return replace(found, extras={"anatomy": case.brain_mask * np.float32(2 / 3)})

    real = model.predict
    monkeypatch.setattr(model, "predict", predict)


def test_all_that_can_be_saved_is_on_both_grids(predicting, scans, tmp_path, plans, anatomy):
    predicting(scans("a"), save=ALL)
    grid = standard_grid(plans)
    for name in ("anomaly", "mask", "pseudo-healthy", "anatomy"):
        native, atlas = (
            nib.load(tmp_path / "maps" / f"a_T1_{name}{space}.nii.gz")
            for space in ("", "_space-atlas")
        )
        np.testing.assert_allclose(atlas.affine, grid.affine)
        assert atlas.shape == native.shape == grid.shape
        np.testing.assert_array_equal(native.get_fdata(), atlas.get_fdata())  # one grid here
        assert native.get_data_dtype() == (np.uint8 if name == "mask" else np.float32)
    brain = nib.load(tmp_path / "maps" / "a_T1_brain-mask_space-atlas.nii.gz").get_fdata()
    assert brain.shape == grid.shape and set(np.unique(brain)) == {0, 1}
    healthy = nib.load(tmp_path / "maps" / "a_T1_pseudo-healthy.nii.gz").get_fdata()
    assert healthy.max() == 0.5
    assert nib.load(tmp_path / "maps" / "a_T1_anatomy.nii.gz").get_fdata().max() == pytest.approx(
        2 / 3, abs=2**-11
    )


def test_maps_come_home_to_the_scans_own_grid_and_header(
    predicting, prepared, scans, plans, tmp_path
):
    """A scan of 2 mm slices, mirrored and shifted: the blob is found where it was put."""
    (case,) = scans("a", sequences=("T1",))
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    centre_mm = standard_grid(plans).affine @ [23.5, 23.5, 23.5, 1]
    affine[:3, 3] = centre_mm[:3] - affine[:3, :3] @ [20, 17, 14]
    grid = Grid((48, 40, 30), affine)
    write_image(case.sequences["T1"], np.random.default_rng(0).random(grid.shape), grid)

    def prepare(task):
        found = prepared(task, blob=5)
        matrix = np.eye(4)
        matrix[:3, 3] = (1.5, -2.0, 3.0)
        return replace(
            found, case=replace(found.case, geometry=Geometry({"T1": grid}, {"T1": matrix}))
        )

    predicting([case], prepare, save=frozenset({"atlas-space"}))
    native = nib.load(tmp_path / "maps" / "a_T1_anomaly.nii.gz")
    atlas = nib.load(tmp_path / "maps" / "a_T1_anomaly_space-atlas.nii.gz")
    np.testing.assert_allclose(native.affine, affine)
    assert native.shape == grid.shape and int(native.header["qform_code"]) == 1

    def centre(image) -> np.ndarray:
        score = image.get_fdata()
        voxels = np.argwhere(score > 0.8 * score.max())
        return nib.affines.apply_affine(image.affine, voxels.mean(axis=0))

    shift_mm = np.array([1.5, -2.0, 3.0])
    np.testing.assert_allclose(centre(native), centre(atlas) + shift_mm, atol=0.75)


def test_a_score_that_rounds_up_to_the_threshold_is_in_the_mask_as_the_metrics_have_it(
    predicting, prepared, scans, tmp_path, monkeypatch
):
    cut = float(np.float16(0.3))
    below = np.float32(cut) - np.float32(1e-6)
    assert below < cut and rounded(below) == cut

    def predict(method, case, sequence, device):
        return Prediction(case.image(sequence), {"": case.brain_mask * below})

    monkeypatch.setattr("dal_auto.inference.model.predict", predict)
    predicting(scans("a"), threshold=cut)
    mask = nib.load(tmp_path / "maps" / "a_T1_mask.nii.gz").get_fdata()
    assert mask.sum() == (rounded(prepared_brain(prepared, scans) * below) >= cut).sum() > 0


def prepared_brain(prepared, scans) -> np.ndarray:
    from dal_auto.inference.prepare import PrepareTask
    from dal_auto.inference.request import Request
    from dal_auto.plans import PreprocessingPlan

    task = PrepareTask(scans("a")[0], Request("", PreprocessingPlan()), 1)
    return prepared(task).case.brain_mask


def test_a_score_that_is_no_number_fails_the_case(predicting, scans, tmp_path, monkeypatch):
    def predict(method, case, sequence, device):
        return Prediction(case.image(sequence), {"": np.full(case.brain_mask.shape, np.nan)})

    monkeypatch.setattr("dal_auto.inference.model.predict", predict)
    summary = predicting(scans("a"))
    assert "a failed at export: anomaly scores must be non-negative" in summary.failures[0]
    assert not list((tmp_path / "maps").glob("*.nii.gz"))


def test_the_sidecar_says_what_the_numbers_mean_and_where_the_threshold_is_from(
    predicting, scans, tmp_path, run
):
    predicting(scans("a"))
    beside = json.loads((tmp_path / "maps" / "a_T1_anomaly.json").read_text())
    assert beside["threshold"] == 0.25 and beside["false_positive_rate"] == 0.001
    assert "0.10%" in beside["threshold_source"]
    assert "3 healthy validation cases" in beside["threshold_source"]
    assert beside["model"]["run"] == str(run)
    assert beside["model"]["model_sha256"] == run.checkpoint_sha256()
    assert beside["score"]["meaning"] == "anomaly score of mean-brain"
    assert set(beside["score"]["formula"]) == {"T1"}
    assert beside["Units"] == "arbitrary" and beside["Sources"] == ["a_T1.nii.gz"]
    assert beside["steps"] == ["N4: by nobody"]
    assert any(tool.startswith("dal_auto ") for tool in beside["tools"])
    assert beside["post_processing"]["mean_filter_mm"] == 9.0
    assert beside["cannot_see"] == list(LIMITS) and "not for diagnosis" in beside["Description"]
    assert str(tmp_path) not in json.dumps(beside), "no paths of this machine"
    predicting(scans("a"), threshold=0.5)
    beside = json.loads((tmp_path / "maps" / "a_T1_anomaly.json").read_text())
    assert beside["threshold_source"] == "user: --threshold" and beside["threshold"] == 0.5
    assert beside["false_positive_rate"] is None


def test_the_picture_has_a_row_for_input_restoration_and_map_and_the_masks_outline(
    predicting, scans, tmp_path, anatomy
):
    predicting(scans("a"))
    with Image.open(tmp_path / "maps" / "a_T1.png") as picture:
        with_mask = np.asarray(picture.convert("RGB")).astype(int)
    predicting(scans("a"), threshold=60.0)
    with Image.open(tmp_path / "maps" / "a_T1.png") as picture:
        without = np.asarray(picture.convert("RGB")).astype(int)
    blue = (np.abs(one - (0x56, 0xB4, 0xE9)).sum(axis=-1) < 60 for one in (with_mask, without))
    outlined, plain = (one.sum() for one in blue)
    assert outlined > 100 and plain == 0
    height, width, _ = with_mask.shape
    assert 0.9 < height / width < 1.3, "three rows of three"


def test_the_panel_has_a_row_for_every_volume():
    volume = np.zeros((2, 2, 2), np.float32)
    found = Prediction(volume, {"": volume}, volume, {"anatomy": volume, "edges": volume})
    titles = [row.title for row in panel_volumes(found, volume)]
    assert titles == ["input", "pseudo-healthy", "anatomy", "edges", "anomaly map"]
