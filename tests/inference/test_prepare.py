"""The chain of the training on one raw case: what is done already is not done twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import ClaimedState, Grid, RawCase
from dal_auto.errors import CaseFailed, InputError, MissingDependency, UsageError
from dal_auto.images import write_image
from dal_auto.inference import prepare as module
from dal_auto.inference.prepare import Prepared, PrepareTask, decisions, prepare, usable
from dal_auto.inference.request import Request
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import Atlas, load_atlas
from dal_auto.preprocessing.steps import CaseSteps

PLAN = PreprocessingPlan(target_shape=(160, 192, 160), n4_iterations=(2,), n4_spacing_mm=8.0)


@pytest.fixture(scope="session")
def atlas() -> Atlas:
    try:
        return load_atlas()
    except MissingDependency as error:
        pytest.skip(str(error))


@pytest.fixture
def scan(atlas, tmp_path) -> RawCase:
    """A stripped brain on the atlas's grid, told from the atlas by noise; a T2 beside it."""
    smooth = ndimage.uniform_filter(atlas.image, 3)
    t1 = np.where(atlas.brain_mask, smooth + 1, 0)
    t2 = np.where(atlas.brain_mask, t1.max() * 1.2 - t1, 0)
    files = {}
    for name, image in (("T1", t1), ("T2", t2)):
        files[name] = tmp_path / f"a_{name}.nii.gz"
        write_image(files[name], image.astype(np.float32), atlas.grid)
    return RawCase("folder", "a", "a", files)


def task(case: RawCase) -> PrepareTask:
    return PrepareTask(case, Request("model", PLAN), 1)


def test_a_stripped_scan_on_the_atlas_is_neither_stripped_nor_registered_again(scan):
    found = prepare(task(scan))
    assert found.steps == CaseSteps(
        bias_correct=True, coregister=False, register_to_atlas=False, strip=False,
        strip_if_doubtful=True, warnings=found.steps.warnings,
    )  # fmt: skip
    done = "; ".join(found.case.steps)
    assert "rigid" not in done and "deepbet" not in done and "N4" in done
    for name in ("T1", "T2"):
        np.testing.assert_array_equal(found.case.geometry.atlas_to_native[name], np.eye(4))
    assert found.case.quality["atlas_dice"] > 0.98
    assert not any("greedy" in tool for tool in found.tools)
    asked = "brain mask: what is not zero, else deepbet"
    assert any(tool.startswith(asked) for tool in found.tools)
    assert {"fingerprint", "N4", "resample"} <= set(found.seconds)
    assert "not needed: skull stripping" in decisions(found.steps, PLAN)


@pytest.fixture
def without_the_chain(monkeypatch) -> None:
    monkeypatch.setattr(module, "standardise", lambda case, steps, *_, **__: case)


def test_a_scan_with_skull_in_a_pose_of_its_own_needs_every_step(
    without_the_chain, scan, atlas, tmp_path
):
    head = Grid(atlas.grid.shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    for shift, path in enumerate(scan.sequences.values()):
        values = np.random.default_rng(shift).uniform(1, 50, head.shape).astype(np.float32)
        values += np.roll(atlas.image, 5 * shift, 0)
        write_image(path, values, head)
    found = prepare(task(scan))
    assert found.steps == CaseSteps(
        bias_correct=True, coregister=True, register_to_atlas=True, strip=True,
        warnings=found.steps.warnings,
    )  # fmt: skip
    assert "not needed" not in decisions(found.steps, PLAN)


def test_what_the_fingerprint_warns_of_comes_along_without_the_cases_name(without_the_chain, scan):
    swapped = dict(zip(("T1", "T2"), reversed(scan.sequences.values()), strict=True))
    claimed = replace(scan, sequences=swapped, claims=ClaimedState(stripped=False))
    found: Prepared = prepare(task(claimed))
    said = "said to be stripped=False, measured True"
    assert any(warning.text.startswith(said) for warning in found.warnings), found.warnings
    assert any("T2 looks like a T1" in warning.text for warning in found.warnings), found.warnings


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (dangle, r"it is a link to gone\.nii\.gz, which is not there"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:999]), "cannot be read to its end"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_as_in_preprocessing(scan, spoil, said):
    path = scan.sequences["T2"]
    spoil(path)
    with pytest.raises(CaseFailed, match=said) as caught:
        prepare(task(scan))
    assert str(path) in str(caught.value) and caught.value.step == "fingerprint"


def test_the_hash_says_of_a_file_that_it_cannot_read_what_reading_would_say(scan, tmp_path):
    dangle(scan.sequences["T1"])
    request = Request("model", PLAN)
    with pytest.raises(InputError, match="which is not there"):
        request.hash_of(scan)


def test_the_hash_follows_all_that_the_maps_depend_on(tmp_path):
    for name in ("T1", "T2", "mask"):
        (tmp_path / f"{name}.nii.gz").write_bytes(name.encode())
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("T1", "T2")}
    case, request = RawCase("d", "a", "p", files), Request("model", PLAN)
    hashes = [
        request.hash_of(case),
        request.hash_of(replace(case, brain_mask=tmp_path / "mask.nii.gz")),
        request.hash_of(replace(case, claims=ClaimedState(stripped=True))),
        request.hash_of(replace(case, sequences={"T1": files["T1"]})),
        request.hash_of(replace(case, sequences={"T1": files["T2"], "T2": files["T1"]})),
        replace(request, model_sha256="another").hash_of(case),
        replace(request, save=frozenset({"anatomy"})).hash_of(case),
        replace(request, threshold=0.5).hash_of(case),
    ]
    assert len(set(hashes)) == len(hashes)
    same = [
        request.hash_of(replace(case, dataset="e", patient_id="q")),
        replace(request, save=frozenset({"mask"})).hash_of(case),
    ]
    assert set(same) == {hashes[0]}
    os.utime(files["T1"])
    assert request.hash_of(case) == hashes[0]


def test_only_sequences_that_the_model_knows_are_used_and_no_lesion_mask(tmp_path):
    files = {name: tmp_path / name for name in ("FLAIR", "T1", "T2")}
    case = RawCase("d", "a", "p", files, lesion_mask=tmp_path / "lesion")
    taken, warnings = usable(case, ("T1",))
    assert list(taken.sequences) == ["T1"] and taken.lesion_mask is None
    assert [warning.text.split()[0] for warning in warnings] == ["FLAIR", "T2"]
    with pytest.raises(UsageError, match=r"only FLAIR, T1, T2, and the model knows PD\. Leave"):
        usable(case, ("PD",))
    with pytest.raises(InputError, match="slices are missing"):
        usable(replace(case, fault=InputError("study", "slices are missing", "Again.")), ("T1",))


def test_a_brain_mask_of_an_image_that_is_left_out_is_left_out_too(tmp_path):
    """A T2 alone is wanted, and the mask lies on the T1: the T2 is stripped as any other."""
    files = {}
    for name, shape in (("T1", (8, 8, 8)), ("T2", (8, 8, 4)), ("mask", (8, 8, 8))):
        files[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), files[name])
    images = {name: files[name] for name in ("T1", "T2")}
    case = RawCase("folder", "a", "a", images, brain_mask=files["mask"])
    taken, warnings = usable(case, ("T2",))
    assert taken.brain_mask is None and "brain mask is left out" in warnings[-1].text
    taken, _ = usable(case, ("T1",))
    assert taken.brain_mask == files["mask"]
