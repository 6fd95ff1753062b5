"""Bad input gets a clear error that names the file, what was found and what to do."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytestmark = pytest.mark.slow
ALL = (
    "dal_plan_and_preprocess",
    "dal_train",
    "dal_predict",
    "dal_evaluate",
    "dal_datasets",
    "dal_demo",
    "dal_models",
)


@pytest.mark.parametrize("command", ALL)
def test_help_shows_an_example_and_the_disclaimer(command, bare_home):
    outcome = bare_home.run(command, "--help")
    assert outcome.returncode == 0
    said = " ".join(outcome.stdout.split())  # lines break where the terminal wants
    assert f"example: {command}" in said and "not for diagnosis" in said


def test_the_installed_script_is_the_command(bare_home):
    outcome = bare_home.spawn("dal_datasets", "list")
    assert outcome.returncode == 0 and "BraTS-GLI" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["dal_train", "--sedes", "0"], "--seeds"),
        (["dal_predict", "-i", "x", "-o", "y", "--treshold", "1"], "--threshold"),
        (["dal_datasets", "simulate", "--helthy", "3"], "--healthy"),
    ],
)
def test_an_unknown_option_names_the_nearest(arguments, nearest, bare_home):
    outcome = bare_home.run(*arguments)
    assert outcome.returncode == 2 and f"did you mean {nearest}?" in outcome.stderr


def test_an_unknown_dataset_lists_the_known(bare_home):
    outcome = bare_home.run("dal_plan_and_preprocess", "-d", "IX")
    assert outcome.returncode == 2
    assert "IXI" in outcome.stderr and "BraTS-GLI" in outcome.stderr


def test_an_unknown_method_lists_the_known(home):
    outcome = home.run("dal_train", "-d", "SimHealthy", "-m", "Dall-E")
    assert outcome.returncode == 2
    assert "known: DAL, AE, AMCons, AnoDDPM, AutoDDPM, DAE" in outcome.stderr


def test_a_plan_value_of_the_wrong_type_names_its_key(home):
    outcome = home.run("dal_train", "-d", "SimHealthy", "--set", "training.steps=many")
    assert outcome.returncode == 2 and "training.steps" in outcome.stderr
    outcome = home.run("dal_train", "-d", "SimHealthy", "--set", "method.settings.stepz=1")
    assert outcome.returncode == 2 and "method.settings.stepz" in outcome.stderr


def test_without_a_run_predict_says_how_to_train(bare_home, tmp_path):
    outcome = bare_home.run("dal_predict", "-i", tmp_path, "-o", tmp_path / "maps", "-m", "DAL")
    assert outcome.returncode == 2 and "dal_train -d IXI" in outcome.stderr


def test_an_empty_folder_is_an_error(home, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    outcome = home.run("dal_predict", "-i", scans, "-o", tmp_path / "maps", "-m", "DAL")
    assert outcome.returncode == 1 and f"{scans}: it holds no image" in outcome.stderr


def test_an_output_folder_that_cannot_be_written_is_an_error(home, tmp_path):
    (tmp_path / "taken").write_text("a file, where a folder is wanted")
    outcome = home.run(
        "dal_predict", "-i", home.path / "scans", "-o", tmp_path / "taken" / "maps", "-m", "DAL"
    )
    assert outcome.returncode == 1
    assert "cannot be written" in outcome.stderr and "Traceback" not in outcome.stderr


def test_the_folder_of_the_scans_is_not_written_into(home):
    scans = home.path / "scans"
    outcome = home.run("dal_predict", "-i", scans, "-o", scans, "-m", "DAL")
    assert outcome.returncode == 2 and "name another folder for the maps" in outcome.stderr


def test_a_list_names_the_line_with_a_file_that_is_not_there(home, tmp_path):
    (tmp_path / "list.csv").write_text("case,T1\na,a_T1.nii.gz\n")
    outcome = home.run(
        "dal_predict", "-i", tmp_path / "list.csv", "-o", tmp_path / "maps", "-m", "DAL"
    )
    assert outcome.returncode == 1
    assert "list.csv: 1 of its files are not there (line 2: " in outcome.stderr


def test_a_pickled_checkpoint_is_refused_unread(home, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "best.safetensors")
    outcome = home.run(
        "dal_predict", "-i", home.path / "scans", "-o", tmp_path / "maps", "-r", tmp_path
    )
    assert outcome.returncode == 1
    assert "no safetensors file, and was not opened" in outcome.stderr


def _spoil(folder: Path, good: Path) -> dict[str, str]:
    """Bad scans of every kind beside a good one; returns name → what the error must say
    (a pattern)."""
    image = nib.load(good)
    values = image.get_fdata(dtype=np.float32)

    def write(name: str, array: np.ndarray) -> None:
        nib.save(nib.Nifti1Image(array, image.affine), folder / f"{name}_T1.nii.gz")

    whole = good.read_bytes()
    (folder / "truncated_T1.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "text_T1.nii.gz").write_bytes(gzip.compress(b"this is no image" * 50))
    (folder / "zero_T1.nii.gz").touch()
    (folder / "page_T1.nii").write_text("<html>please log in</html>")
    (folder / "checksum_T1.nii.gz").write_bytes(whole[:-8] + b"wrng" + whole[-4:])
    (folder / "nowhere_T1.nii.gz").symlink_to(folder / "gone.nii.gz")
    (folder / "hollow_T1.nii").mkdir()
    write("series", np.stack([values, values], axis=-1))
    write("slice", values[:, :, :1])
    write("complex", values.astype(np.complex64))
    write("colours", np.zeros(values.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nan = values.copy()
    nan[3, 3, 3] = np.nan
    write("nan", nan)
    write("constant", np.full_like(values, 7))
    return {
        "truncated": "cannot be read to its end",
        "text": "it is no image of a known format",
        "zero": "the file is empty",
        "page": "it is a web page",
        "checksum": "its compressed data are damaged",
        "nowhere": "which is not there",
        "hollow": "it is a folder",
        "slice": "a 3-D image was expected",
        "complex": "complex numbers",
        "colours": "its voxels are colours",
        "series": "a 3-D image was expected",
        "nan": "NaN or infinite",
        "constant": "all voxels have the value 7",
    }


def test_bad_scans_are_named_and_the_good_one_is_done(home, tmp_path):
    scans, maps = tmp_path / "scans", tmp_path / "maps"
    scans.mkdir()
    good = home.path / "scans" / "sub-l001_T1w.nii.gz"
    shutil.copyfile(good, scans / "good_T1.nii.gz")
    expected = _spoil(scans, good)
    outcome = home.run("dal_predict", "-i", scans, "-o", maps, "-m", "DAL")
    assert outcome.returncode == 1
    assert f"1 case done, 0 kept from before, {len(expected)} failed" in outcome.stderr
    assert (maps / "good_T1_anomaly.nii.gz").is_file()
    for case, finding in expected.items():
        lines = [line for line in outcome.stderr.splitlines() if f"{case}_T1.nii" in line]
        assert any(re.search(finding, line) for line in lines), (case, lines)
    assert "Traceback" not in outcome.stderr
    page = (maps / "index.html").read_text(encoding="utf-8")
    assert "good_T1.png" in page and all(f"case {case} " in page for case in expected)


@pytest.mark.long
def test_any_format_in_a_folder_that_may_only_be_read_is_done(home, tmp_path):
    """Blanks and other letters in paths, links, and what is not what its name says."""
    scans, maps = tmp_path / "nur lesen ü", tmp_path / "maps"
    scans.mkdir()
    good = home.path / "scans" / "sub-l001_T1w.nii.gz"
    image = nib.load(good)
    values = image.get_fdata(dtype=np.float32)
    (scans / "link é_T1.nii.gz").symlink_to(good)
    (scans / "plain_T1.nii.gz").write_bytes(gzip.decompress(good.read_bytes()))
    (scans / "tail_T1.nii.gz").write_bytes(good.read_bytes() + b"more")
    nib.save(nib.MGHImage(values, image.affine), scans / "free_T1.mgz")
    sitk.WriteImage(sitk.ReadImage(str(good)), str(scans / "slicer_T1.nrrd"))
    before = {path.name: path.lstat().st_mtime_ns for path in scans.iterdir()}
    scans.chmod(0o555)
    outcome = home.run("dal_predict", "-i", scans, "-o", maps, "-m", "DAL")
    scans.chmod(0o755)
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert {path.name: path.lstat().st_mtime_ns for path in scans.iterdir()} == before
    expected = nib.load(maps / "link é_T1_anomaly.nii.gz")
    for case in ("plain", "tail", "free", "slicer"):
        found = nib.load(maps / f"{case}_T1_anomaly.nii.gz")
        np.testing.assert_allclose(found.affine, image.affine, atol=1e-3)
        np.testing.assert_allclose(found.get_fdata(), expected.get_fdata(), atol=0.05)


def _copy_subject(raw: Path, old: str, new: str) -> None:
    """Another subject with the same files, masks included."""
    for path in [path for path in raw.rglob(f"{old}*") if path.is_file()]:
        target = Path(str(path).replace(old, new))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def test_a_bad_dataset_names_its_cases_and_does_the_others(home, tmp_path):
    """A mask on a foreign grid, a truncated image, a subject with T1 only."""
    raw = tmp_path / "raw" / "Mixed"
    shutil.copytree(home.path / "raw" / "SimLesions", raw)
    _copy_subject(raw, "sub-l001", "sub-l002")
    mask_path = next((raw / "derivatives").rglob("sub-l001*mask.nii.gz"))
    mask = nib.load(mask_path)
    nib.save(nib.Nifti1Image(mask.get_fdata()[:-3].astype(np.uint8), mask.affine), mask_path)
    shutil.copytree(home.path / "raw" / "SimHealthy" / "sub-h001", raw / "sub-h001")
    next(raw.glob("sub-h001/anat/*T2w.nii.gz")).unlink()
    bad = next(raw.glob("sub-l002/anat/*T2w.nii.gz"))
    bad.write_bytes(bad.read_bytes()[:5000])
    outcome = home.run(
        "dal_plan_and_preprocess", "-d", "Mixed", *home.chain,
        DAL_RAW=str(tmp_path / "raw"), DAL_PREPROCESSED=str(tmp_path / "preprocessed"),
    )  # fmt: skip
    assert outcome.returncode == 1
    assert str(mask_path) in outcome.stderr and "is that of no image" in outcome.stderr
    assert str(bad) in outcome.stderr and "cannot be read to its end" in outcome.stderr
    assert "sub-h001: no T2" in outcome.stderr
    cases = tmp_path / "preprocessed" / "Mixed" / "cases"
    assert [path.name for path in sorted(cases.glob("*.json"))] == ["sub-h001.json"]


def test_a_subject_without_t2_trains_what_it_can(home, tmp_path):
    preprocessed = tmp_path / "preprocessed"
    shutil.copytree(home.path / "preprocessed", preprocessed)
    shutil.rmtree(preprocessed / "SimHealthy" / "cache", ignore_errors=True)
    record = preprocessed / "SimHealthy" / "cases" / "sub-h002.json"
    record.write_text(record.read_text().replace('"T2"\n ]', '"PD"\n ]', 1))
    outcome = home.run(
        "dal_train", "-d", "SimHealthy", "-c", "demo", "-m", "mean-brain",
        DAL_PREPROCESSED=str(preprocessed), DAL_RESULTS=str(tmp_path / "results"),
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert "1 of 3 cases have no T2: they train what they can" in outcome.stderr
