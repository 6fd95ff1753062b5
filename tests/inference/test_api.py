"""dal_auto from Python: its examples run; images of nibabel and SimpleITK come back as such."""

from __future__ import annotations

import doctest
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import dal_auto
from dal_auto.errors import UsageError
from dal_auto.inference import api


@pytest.fixture
def scene(monkeypatch, prepared, run, scans) -> dict[str, str]:
    """What the examples speak of: a tiny model, and two scans; a stand-in for the chain."""
    monkeypatch.setattr("dal_auto.inference.model.check_atlas", lambda checkpoint: None)
    monkeypatch.setattr(api, "prepare", prepared)
    (case,) = scans("a")
    return {
        "model_path": str(run.folder),
        "t1_path": str(case.sequences["T1"]),
        "t2_path": str(case.sequences["T2"]),
    }


@pytest.mark.parametrize("example", [api.load_model, api.predict])
def test_the_examples_run(scene, example):
    found = doctest.DocTestFinder().find(example, example.__name__, globs=dict(scene))
    (test,) = (one for one in found if one.examples)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_images_of_nibabel_and_simpleitk_come_back_as_such_with_the_same_numbers(scene):
    model = dal_auto.load_model(scene["model_path"], device="cpu")
    by_path = dal_auto.predict({"T1": scene["t1_path"]}, model)
    by_nibabel = dal_auto.predict({"T1": nib.load(scene["t1_path"])}, model)
    by_itk = dal_auto.predict({"T1": sitk.ReadImage(scene["t1_path"])}, model)
    expected = by_path.map.get_fdata()
    assert expected.max() >= by_path.threshold == 0.25 and by_path.pseudo_healthy is not None
    np.testing.assert_array_equal(by_nibabel.map.get_fdata(), expected)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk.map).T, expected)
    np.testing.assert_array_equal(by_path.mask.get_fdata(), expected >= 0.25)
    assert by_itk.mask.GetOrigin() == sitk.ReadImage(scene["t1_path"]).GetOrigin()
    assert by_itk.components == by_path.components


def test_a_sequence_that_the_model_does_not_know_is_told(scene):
    model = api.load_model(scene["model_path"], device="cpu")
    result = api.predict({"T1": scene["t1_path"], "FLAIR": scene["t2_path"]}, model)
    assert "FLAIR is left out" in result.warnings[0] and not result.by_sequence


def test_what_is_no_image_is_refused(scene):
    model = api.load_model(scene["model_path"], device="cpu")
    with pytest.raises(UsageError, match="not ndarray"):
        api.predict({"T1": np.zeros((4, 4, 4))}, model)


def test_importing_dal_auto_imports_neither_torch_nor_numpy():
    code = "import sys, dal_auto; print({'torch', 'numpy'} & set(sys.modules), dir(dal_auto))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("set()") and "load_model" in told.stdout
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        dal_auto.train  # noqa: B018
