"""A dataset through the chain with the real tools: resume, failures, and equal bytes.

Two small stripped cases are made from the atlas itself at 4 mm, moved and recoloured.
"""

from __future__ import annotations

import csv
import html
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import ClaimedState, Grid, RawCase
from dal_auto.datasets.registry import Dataset
from dal_auto.errors import DiskFull, InputError, MissingDependency, UsageError
from dal_auto.images import read_image, write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing import run as module
from dal_auto.preprocessing.registration import greedy
from dal_auto.preprocessing.resampling import resample
from dal_auto.preprocessing.run import Summary, Task, case_bytes, inputs_hash, preprocess_dataset
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.preprocessing.stored import case_records, load_decisions
from dal_auto.store.claim import claimed
from dal_auto.store.standard_cases import read_case
from dal_auto.workers import Workforce

PLAN = PreprocessingPlan(
    target_shape=(96, 128, 96), registration_iterations="10x0x0", n4_iterations=(2,)
)


@dataclass(frozen=True)
class Place:
    """A folder with raw files and one for results."""

    root: Path
    disk: Path | None = None

    def cases(self, *names: str) -> list[RawCase]:
        return [
            RawCase(
                "Toy",
                name,
                f"patient_{name}",
                {s: self.root / "raw" / f"{name}_{s}.nii.gz" for s in ("T1", "T2")},
                lesion_mask=self.root / "raw" / f"{name}_lesion.nii.gz",
            )
            for name in names
        ]

    @property
    def preprocessed(self) -> Path:
        return self.disk or self.root / "preprocessed"

    def run(self, cases: list[RawCase], plan: PreprocessingPlan = PLAN) -> Summary:
        dataset = Dataset("Toy", self.root / "raw", None, tuple(cases), True, "bids")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAL_PREPROCESSED", str(self.preprocessed))
            return preprocess_dataset(dataset, plan, workforce=Workforce(1))[1]

    @property
    def results(self) -> Path:
        return self.preprocessed / "Toy"

    def failed(self) -> list[dict[str, str]]:
        """The rows of the table of failures."""
        with (self.results / "failures.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def stored(self) -> dict[str, tuple[bytes, int]]:
        """Name → content and time of change of every file of a case."""
        files = (self.results / "cases").iterdir()
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def write_raw(folder: Path, atlas, rigid) -> None:
    coarse = Grid((60, 60, 39), atlas.grid.affine @ np.diag([4.0, 4, 4, 1]))
    smooth = ndimage.uniform_filter(atlas.image, 4)
    for name, degrees in (("a", 0), ("b", 4)):
        turned = rigid((0, 0, degrees), (3, 0, 0))
        t1 = resample(smooth, atlas.grid, coarse, turned)
        t1 *= t1 > 60
        t2 = np.where(t1 > 0, 1000 - t1, 0)
        lesion = np.zeros(coarse.shape, bool)
        lesion[28:32, 30:34, 18:21] = True
        for part, image in (("T1", t1), ("T2", t2), ("lesion", lesion)):
            write_image(folder / f"{name}_{part}.nii.gz", image, coarse)


@pytest.fixture(scope="module")
def first_run(atlas, rigid, tmp_path_factory) -> tuple[Place, Summary]:
    place = Place(tmp_path_factory.mktemp("first"))
    write_raw(place.root / "raw", atlas, rigid)
    return place, place.run(place.cases("a", "b"))


@pytest.fixture
def place(first_run, tmp_path) -> Place:
    """A copy of the first run, to be changed at will."""
    shutil.copytree(first_run[0].root, tmp_path / "copy")
    return Place(tmp_path / "copy")


def test_every_case_is_done_and_all_that_was_decided_is_written(first_run, monkeypatch):
    place, summary = first_run
    assert (summary.done, summary.kept, summary.failures) == (["a", "b"], [], [])
    assert sorted(place.stored()) == ["a.b2nd", "a.json", "b.b2nd", "b.json"]
    for name in ("fingerprint.json", "quality.csv", "quality.html", "logs/a.json"):
        assert (place.results / name).stat().st_size > 0
    assert place.failed() == []
    monkeypatch.setenv("DAL_PREPROCESSED", str(place.root / "preprocessed"))
    steps = load_decisions("Toy").steps["b"]
    assert steps == CaseSteps(
        bias_correct=True,
        coregister=False,
        register_to_atlas=True,
        strip=False,
        strip_if_doubtful=True,
    )
    assert load_decisions("Toy").preprocessing == PLAN
    records = case_records("Toy")
    assert [record.patient_id for record in records] == ["patient_a", "patient_b"]
    case = read_case(records[1])
    assert case.images.shape == (2, *PLAN.target_shape)
    assert case.quality["atlas_dice"] > 0.9
    assert case.quality["lesion_ml"] == pytest.approx(48 * 0.064, rel=0.1)


def test_a_second_run_keeps_everything(place):
    before = place.stored()
    summary = place.run(place.cases("a", "b"))
    assert (summary.done, summary.kept, summary.failures) == ([], ["a", "b"], [])
    assert place.stored() == before


def test_a_fresh_run_in_another_folder_gives_the_same_bytes(first_run, place):
    shutil.rmtree(place.root / "preprocessed")
    assert place.run(place.cases("b")).done == ["b"]
    first = {name: content for name, (content, _) in first_run[0].stored().items()}
    fresh = {name: content for name, (content, _) in place.stored().items()}
    assert fresh == {name: first[name] for name in ("b.b2nd", "b.json")}


def test_a_case_whose_input_changed_is_redone_and_the_other_kept(place):
    before = place.stored()
    path = place.root / "raw" / "a_T2.nii.gz"
    image, grid = read_image(path)
    image[30, 30, 20] += 40
    write_image(path, image, grid)
    summary = place.run(place.cases("a", "b"))
    assert (summary.done, summary.kept) == (["a"], ["b"])
    after = place.stored()
    assert after["a.json"][0] != before["a.json"][0]
    assert after["b.json"] == before["b.json"]


def test_another_plan_makes_cases_again_and_says_why(place, caplog):
    caplog.set_level("INFO")
    coarser = PLAN.model_copy(update={"n4_iterations": (3,)})
    assert place.run(place.cases("b"), coarser).done == ["b"]
    assert "are made again: preprocessing.n4_iterations was" in caplog.text
    caplog.clear()
    assert place.run(place.cases("b"), coarser).kept == ["b"]
    assert "made again" not in caplog.text


def test_of_two_plans_no_cases_stand_side_by_side_when_a_run_is_stopped(place, monkeypatch, caplog):
    monkeypatch.setenv("DAL_PREPROCESSED", str(place.preprocessed))
    standardise = module.standardise

    def stopped_at_b(case, *others, **settings):
        if case.case_id == "b":
            raise KeyboardInterrupt
        return standardise(case, *others, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(module, "standardise", stopped_at_b)
        with pytest.raises(KeyboardInterrupt):
            place.run(place.cases("a", "b"), PLAN.model_copy(update={"n4_iterations": (3,)}))
    assert [record.case_id for record in case_records("Toy")] == ["a"]
    assert "1 cases of Toy are missing: they failed, or preprocessing was stopped" in caplog.text
    # Of the plan before, what was not made again is there at once.
    assert place.run(place.cases("a", "b")).kept == ["b"]


def test_a_damaged_record_of_a_case_that_is_gone_is_nobodys_trouble(place):
    stranger = place.results / "cases" / "gone.json"
    stranger.write_text("")
    assert place.run(place.cases("a", "b")).kept == ["a", "b"]
    assert "gone" not in (place.results / "quality.html").read_text()


def test_a_key_that_an_older_version_did_not_have_is_a_change(place):
    decided = place.results / "preprocessing.json"
    content = json.loads(decided.read_text())
    assert module._changes(decided, PLAN) == []
    del content["preprocessing"]["registration_finest_mm"]
    decided.write_text(json.dumps(content))
    assert module._changes(decided, PLAN) == ["preprocessing.registration_finest_mm is new (2.0)"]


def test_a_case_whose_voxels_are_gone_is_redone(place):
    before = place.stored()
    (place.results / "cases" / "a.b2nd").unlink()
    assert place.run(place.cases("a", "b")).done == ["a"]
    assert {name: content for name, (content, _) in place.stored().items()} == {
        name: content for name, (content, _) in before.items()
    }


def assert_only_a_failed(place: Place, summary: Summary, *words: str) -> None:
    assert (summary.done, summary.kept) == ([], ["b"])
    (failure,) = summary.failures
    assert all(word in failure for word in ("case a", *words)), failure
    # The old result belongs to other inputs: it must not be taken for this case's.
    assert not (place.results / "cases" / "a.json").exists()
    assert (place.results / "cases" / "b.json").exists()
    (row,) = place.failed()
    assert row["case"] == "a" and row["step"] and row["cause"] in failure
    assert failure in html.unescape((place.results / "quality.html").read_text())


def test_a_case_that_cannot_be_read_stops_no_other_and_its_old_record_goes(place):
    path = place.root / "raw" / "a_T1.nii.gz"
    path.write_bytes(path.read_bytes()[:1000])
    summary = place.run(place.cases("a", "b"))
    assert_only_a_failed(place, summary, "a_T1.nii.gz", "cannot be read to its end")


def test_a_lesion_mask_on_a_foreign_grid_is_a_failure_that_names_the_file(place):
    path = place.root / "raw" / "a_lesion.nii.gz"
    write_image(path, np.ones((20, 20, 20), bool), Grid((20, 20, 20), np.eye(4)))
    summary = place.run(place.cases("a", "b"))
    assert_only_a_failed(place, summary, str(path), "lesion mask's grid (20, 20, 20)")


def test_a_brain_mask_that_is_gone_is_a_failure_and_the_old_record_goes(place):
    a, b = place.cases("a", "b")
    a = replace(a, brain_mask=place.root / "raw" / "a_brain.nii.gz")
    assert_only_a_failed(place, place.run([a, b]), "a_brain.nii.gz")


def test_while_a_case_is_redone_its_old_record_stays(place, monkeypatch):
    """Its successor may never be whole."""
    path = place.root / "raw" / "a_T2.nii.gz"
    image, grid = read_image(path)
    write_image(path, image * 2, grid)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "standardise", killed)
    with pytest.raises(KeyboardInterrupt):
        place.run(place.cases("a", "b"))
    assert (place.results / "cases" / "a.json").exists()


def test_a_tool_that_is_not_installed_is_found_out_before_anything_is_touched(place, monkeypatch):
    before = {path: path.read_bytes() for path in place.results.rglob("*.*") if path.is_file()}

    def missing() -> str:
        raise MissingDependency("greedy", "Install it.")

    monkeypatch.setattr(greedy, "version", missing)
    with pytest.raises(MissingDependency, match="greedy"):
        place.run(place.cases("a", "b"))
    left = {path for path in place.results.rglob("*.*") if path.is_file()}
    assert left == before.keys()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_case_that_failed_and_whose_old_input_returns_is_taken_again(place):
    path = place.root / "raw" / "a_T2.nii.gz"
    good, stored = path.read_bytes(), place.stored()["a.b2nd"]
    path.write_bytes(good[:200])
    assert len(place.run(place.cases("a", "b")).failures) == 1
    assert not (place.results / "cases" / "a.json").exists()
    path.write_bytes(good)
    assert place.run(place.cases("a", "b")).kept == ["a", "b"]
    assert place.stored()["a.b2nd"] == stored


def test_a_name_that_no_disk_takes_costs_its_case_only(place):
    a, b = place.cases("a", "b")
    long = replace(a, case_id="ä" * 120)
    summary = place.run([long, b])
    assert summary.kept == ["b"] and "240 bytes" in summary.failures[0]
    assert place.failed()[0]["case"] == long.case_id


def test_a_second_run_on_the_folder_is_refused(place):
    with claimed(place.results, "Wait."), pytest.raises(UsageError, match="another run is writing"):
        place.run(place.cases("a", "b"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """Give a disk of so many bytes; called again, the same disk with another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        options = f"size={size}" + (",remount" if folder.is_mount() else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no disk can be mounted: {error}")
        if outcome.returncode != 0:
            pytest.skip(f"no disk can be mounted: {outcome.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_with_more_room_it_goes_on(first_run, small_disk):
    place, _ = first_run
    sizes = {name: len(content) for name, (content, _) in place.stored().items()}
    disk = small_disk(sizes["a.b2nd"] + sizes["b.b2nd"] // 2 + 300_000)
    full = Place(place.root, disk)
    with pytest.raises(DiskFull) as caught:
        full.run(place.cases("a", "b"))
    assert re.search(r"[ab]\.b2nd cannot be written: the disk is full", str(caught.value))
    assert f"mounted at {disk}" in str(caught.value)
    assert {name for name in full.stored() if name.startswith(".")} == set()
    assert len([name for name in full.stored() if name.endswith(".json")]) <= 1
    small_disk(100_000_000)
    summary = full.run(place.cases("a", "b"))
    assert sorted(summary.done + summary.kept) == ["a", "b"]
    assert len(summary.kept) == len(summary.done) == 1
    assert {name: content for name, (content, _) in full.stored().items()} == {
        name: content for name, (content, _) in place.stored().items()
    }


@pytest.mark.parametrize(
    ("case", "voxels", "strip", "measured_gb"),
    [
        ("BraTS-GLI", 2 * 240 * 240 * 155, False, 0.96),
        ("IXI at 2 mm, T1", 120 * 120 * 90, True, 1.32),
        ("MSLUB raw", 320 * 320 * 39 + 406 * 448 * 36, True, 1.44),
        ("the same at 0.8 mm", 288 * 288 * 146 + 261 * 287 * 180, True, 1.44),
        ("the same at 0.6 mm", 383 * 383 * 195 + 347 * 383 * 240, True, 2.31),
    ],
)
def test_the_memory_estimate_is_above_what_was_measured_and_not_far(
    case, voxels, strip, measured_gb
):
    estimate_gb = case_bytes(voxels, strip=strip) / 1e9
    assert measured_gb <= estimate_gb <= 1.5 * measured_gb, case


def test_the_largest_case_decides_how_many_run_at_once(place, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "run_tasks", lambda *_, task_bytes, **__: asked.append(task_bytes))
    with pytest.raises(TypeError):  # there are no outcomes
        place.run(place.cases("a", "b"))
    # Nobody says that these are stripped: a tool may be asked after all.
    assert asked == [case_bytes(2 * 60 * 60 * 39, strip=True)]


def test_what_a_killed_run_left_half_written_is_removed(place):
    left = place.results / "cases" / ".0123abcd.a.b2nd"
    left.touch()
    os.utime(left, (0, 0))
    place.run(place.cases("a", "b"))
    assert not left.exists()


def test_a_dataset_of_which_nothing_can_be_read_ends_with_failures_not_a_crash(place, caplog):
    for path in (place.root / "raw").glob("*_T1.nii.gz"):
        path.write_bytes(b"")
    with caplog.at_level(logging.INFO):
        summary = place.run(place.cases("a", "b"))
    assert (summary.done, summary.kept, len(summary.failures)) == ([], [], 2)
    assert "2 cases, 0 readable" in caplog.text


def test_a_healthy_case_that_lacks_a_sequence_is_a_warning(place):
    (case,) = place.cases("a")
    path = case.sequences["T1"]
    path.write_bytes(b"")
    summary = place.run([replace(case, sequences={"T1": path}, lesion_mask=None)])
    assert summary.warnings == ["a: no T2; training on pairs leaves it out"]


def test_what_an_earlier_state_of_the_dataset_left_behind_is_no_case(place, caplog, monkeypatch):
    monkeypatch.setenv("DAL_PREPROCESSED", str(place.preprocessed))
    place.run(place.cases("a", "b"))
    assert [record.case_id for record in case_records("Toy")] == ["a", "b"]
    place.run(place.cases("a"))
    assert [record.case_id for record in case_records("Toy")] == ["a"]
    assert "1 preprocessed cases of Toy are left out" in caplog.text


def test_before_the_first_run_the_error_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DAL_PREPROCESSED", str(tmp_path))
    for ask in (case_records, load_decisions):
        with pytest.raises(UsageError, match="dal_plan_and_preprocess -d Toy"):
            ask("Toy")


@pytest.fixture
def task(tmp_path) -> Task:
    for name in ("T1", "T2", "mask"):
        (tmp_path / f"{name}.nii.gz").write_bytes(name.encode())
    case = RawCase("D", "a", "p", {name: tmp_path / f"{name}.nii.gz" for name in ("T1", "T2")})
    steps = CaseSteps(bias_correct=True, coregister=False, register_to_atlas=True, strip=False)
    return Task(case, steps, PLAN, tmp_path / "out", 1)


def test_the_hash_follows_all_that_the_result_depends_on(task, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    case, steps = task.case, task.steps
    swapped = {name: case.sequences[name] for name in ("T2", "T1")}
    changed = [
        task,
        replace(task, case=replace(case, patient_id="q")),
        replace(task, case=replace(case, lesion_mask=mask)),
        replace(task, case=replace(case, brain_mask=mask)),
        replace(task, case=replace(case, sequences=swapped)),
        replace(task, case=replace(case, sequences={**case.sequences, "T2": mask})),
        replace(task, case=replace(case, claims=ClaimedState(bias_corrected=False))),
        replace(task, steps=steps.model_copy(update={"coregister": True})),
        replace(task, plan=PLAN.model_copy(update={"atlas_sha256": "another"})),
        replace(task, plan=PLAN.model_copy(update={"percentiles": (0, 50, 100)})),
    ]
    hashes = [inputs_hash(one) for one in changed]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_does_not_depend_on_where_the_files_lie_or_how_many_threads_run(task, tmp_path):
    before = inputs_hash(task)
    other = tmp_path / "elsewhere.nii.gz"
    shutil.copy(task.case.sequences["T2"], other)
    case = replace(task.case, sequences={**task.case.sequences, "T2": other})
    moved = replace(task, case=case, folder=tmp_path / "other", threads=8)
    assert inputs_hash(moved) == before


def test_a_file_that_is_gone_is_named_by_the_hash(task):
    task.case.sequences["T2"].unlink()
    with pytest.raises(InputError, match=r"T2\.nii\.gz: it cannot be read"):
        inputs_hash(task)
