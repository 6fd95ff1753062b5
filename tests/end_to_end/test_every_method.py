"""Every method beside those of the demo's walk: the same commands, its size, a few steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from dal_auto.inference.prepare import Prepared, PrepareTask, prepare
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.registry import find_method, method_names

pytestmark = pytest.mark.slow

METHODS = sorted(set(method_names()) - {"DAL", "mean-brain", "raw-intensity"})

#: The default of some wants a file of weights, which a test has not got.
_LEARNED = ["method.settings.features=self-trained", "method.settings.self_trained.steps=4"]
_SETTINGS = {
    "AutoDDPM": ["method.settings.perceptual=none", "method.settings.mask_timesteps=4"],
    "PHANES": ["method.settings.perceptual=none"],
    "PatchCore": [*_LEARNED, "method.settings.candidates=500"],
    "EfficientAD": [*_LEARNED, "method.settings.distillation_steps=4"],
    "MKD": _LEARNED,
    "RD4AD": _LEARNED,
    "UTRAD": _LEARNED,
}


@pytest.fixture(scope="module")
def trained(home, tmp_path_factory):
    """A folder of results, beside the walk's own, in which the methods are trained."""
    results = tmp_path_factory.mktemp("results")
    for name in METHODS:
        changes = list(_SETTINGS.get(name, []))
        if issubclass(find_method(name), GradientMethod):
            changes += ["training.steps=4", "training.validations=1"]
        sets = [word for change in changes for word in ("--set", change)]
        outcome = home.run(
            "dal_train", "-d", "SimHealthy", "-c", "demo", "-m", name, "--device", "cpu", *sets,
            DAL_RESULTS=str(results),
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr[-3000:]
    return results


@pytest.fixture(scope="module")
def prepare_once() -> Callable[[PrepareTask], Prepared]:
    """The chain, which no method changes: run for the first, and handed to the others as it is."""
    prepared: dict[str, Prepared] = {}

    def once(task: PrepareTask) -> Prepared:
        if task.case.case_id not in prepared:
            prepared[task.case.case_id] = prepare(task)
        return replace(prepared[task.case.case_id], made_from=task.request.hash_of(task.case))

    return once


@pytest.mark.parametrize("name", METHODS)
def test_a_method_writes_a_map_on_the_scans_grid(
    name, trained, home, tmp_path, prepare_once, monkeypatch
):
    monkeypatch.setattr("dal_auto.inference.run.prepare", prepare_once)
    scan = min((home.path / "scans").glob("*T1w.nii.gz"))
    scans, maps = tmp_path / "in", tmp_path / "out"
    scans.mkdir()
    shutil.copy(scan, scans)
    outcome = home.run(
        "dal_predict", "-i", scans, "-o", maps, "-m", name, "--device", "cpu",
        DAL_RESULTS=str(trained),
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    anomaly = nib.load(maps / f"{scan.name.removesuffix('w.nii.gz')}_anomaly.nii.gz")
    image = nib.load(scan)
    assert anomaly.shape == image.shape
    np.testing.assert_allclose(anomaly.affine, image.affine, atol=1e-5)
    values = anomaly.get_fdata()
    assert np.isfinite(values).all() and values.min() >= 0 and values.max() > 0


def test_one_evaluation_scores_all_of_them(trained, home):
    outcome = home.run(
        "dal_evaluate", "-d", "SimLesions", "-m", "ALL", "--device", "cpu",
        DAL_RESULTS=str(trained),
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    table = pd.read_csv(trained / "report" / "results.csv")
    assert set(table["method"].str.split(" ").str[0]) == set(METHODS)
    assert table["AP"].between(0, 100).all() and (table["cases"] == 1).all()
    page = trained / "report" / "index.html"
    assert outcome.stderr.strip().splitlines()[-1] == f"report: {page}"
