"""What is kept of a scored image is read again where it holds, and named where it does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dal_auto.errors import InputError
from dal_auto.evaluation.scores import (
    BRAIN,
    GRID,
    HELD_OUT,
    Records,
    ScoreRecord,
    counts_name,
    evaluated_datasets,
    evaluation_folder,
    is_scored,
    log_path,
    method_name,
    read_scored,
    slices_name,
    vectors_name,
    write_failures,
)
from dal_auto.scoring.pooled_curve import scores_of_bins
from dal_auto.store.kept import Origin
from dal_auto.store.runs import Run

CHECKPOINT = b"weights"
MODEL = hashlib.sha256(CHECKPOINT).hexdigest()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a checkpoint."""
    return a_run(tmp_path, 0)


def a_run(folder: Path, seed: int, method: str = "DAL") -> Run:
    run = Run(folder / "IXI" / f"{method}__demo__robust" / f"seed_{seed}")
    run.folder.mkdir(parents=True)
    run.checkpoint_path.write_bytes(CHECKPOINT)
    return run


@pytest.fixture
def image(make):
    """Keep an image of three voxels, the first of them lesion, the last outside the brain."""

    def keep(run: Run, case: str, scores=(0.5, 0.25, 0.0), lesion=(1, 0, 0), **others):
        return make.scored_image(run, case, scores, lesion, (1, 1, 0), model=MODEL, **others)

    return keep


def test_files_are_named_by_case_sequence_variant_and_region():
    assert counts_name("c_T1", "", GRID) == "c_T1_grid.npz"
    assert counts_name("c_T1", "bright", BRAIN) == "c_T1_bright_brain.npz"
    assert slices_name("c_T1") == "c_T1_slices.npz" and vectors_name("c_T1") == "c_T1_vectors.npz"
    assert log_path(Path("x"), "c_T1") == Path("x/logs/c_T1.json")


def test_a_method_is_read_with_its_variant(run):
    assert method_name(run, "") == "DAL" and method_name(run, "own") == "DAL (own)"


def test_an_image_says_what_its_record_says(run, image):
    one = image(run, "odd name é", patient="p", sequence="T2")
    assert (one.case_id, one.patient_id, one.sequence) == ("odd name é", "p", "T2")
    assert one.variants == [""] and one.has_lesion
    assert not image(run, "healthy", lesion=(0, 0, 0)).has_lesion
    assert ScoreRecord.read(one.folder / "odd name é_T2.json") == one.record


def test_pictures_slices_and_vectors_are_there_where_their_files_are(run, image):
    one = image(run, "a")
    assert one.picture is None and one.slices is None and one.vectors is None
    for name in ("a_T1.png", "a_T1_slices.npz", "a_T1_vectors.npz"):
        (one.folder / name).write_bytes(b"")
    assert one.picture == one.folder / "a_T1.png"
    assert one.slices == one.folder / "a_T1_slices.npz"
    assert one.vectors == one.folder / "a_T1_vectors.npz"


def test_counts_are_of_the_grid_or_of_the_brain(run, image):
    one = image(run, "a", {"bright": (0.25, 0.5, 0.0), "dark": (0.0, 1.0, 1.0)}, (0, 1, 1))

    def kept(variant: str, region: str) -> tuple[list[float], list[float]]:
        counts, bins = one.counts(variant, region), scores_of_bins()
        lesion, normal = (np.repeat(bins, c).tolist() for c in (counts.lesion, counts.normal))
        return lesion, normal

    assert kept("bright", GRID) == ([0.0, 0.5], [0.25])
    assert kept("bright", BRAIN) == ([0.5], [0.25])
    assert kept("dark", GRID) == ([1.0, 1.0], [0.0])
    (one.folder / "a_T1_dark_brain.npz").unlink()
    with pytest.raises(InputError, match=r"a_T1_dark_brain\.npz"):
        one.counts("dark", BRAIN)


def test_seconds_are_those_of_the_log_if_it_is_whole(run, image):
    one = image(run, "a")
    assert one.seconds() == {}
    path = log_path(one.folder, "a_T1")
    path.parent.mkdir()
    path.write_text('{"seconds": {"predict": 1.5, "keep": 0.25}}')
    assert one.seconds() == {"predict": 1.5, "keep": 0.25}
    for damaged in ("", "{", "{}"):
        path.write_text(damaged)
        assert one.seconds() == {}


def test_an_image_is_scored_if_its_record_and_all_its_counts_are_there(run, image):
    one = image(run, "a", {"bright": (0.5, 0, 0), "dark": (0.5, 0, 0)})
    origin = one.record.made_from
    assert is_scored(one.folder, "a_T1", origin)
    assert not is_scored(one.folder, "a_T2", origin)
    for other in (Origin(model="other", case=origin.case), Origin(model=MODEL, case="other")):
        assert not is_scored(one.folder, "a_T1", other)
    assert not is_scored(one.folder, "a_T1", origin.model_copy(update={"revision": 0}))
    counts = one.folder / "a_T1_dark_grid.npz"
    counts.rename(counts.with_suffix(".elsewhere"))
    assert not is_scored(one.folder, "a_T1", origin)
    counts.with_suffix(".elsewhere").rename(counts)
    (one.folder / "a_T1.json").write_text("{}")
    assert not is_scored(one.folder, "a_T1", origin)


def test_records_of_all_runs_and_datasets_are_read_apart_from_held_out_ones(tmp_path, run, image):
    other = a_run(tmp_path, 1)
    for of, case, dataset in (
        (other, "b", "MSLUB"),
        (run, "b", "MSLUB"),
        (run, "a", "MSLUB"),
        (run, "c", "ATLAS"),
        (run, "h", HELD_OUT),
    ):
        image(of, case, dataset=dataset)
    image(run, "not asked for", dataset="Simulated")
    (evaluation_folder(run, "MSLUB") / ".1234abcd.half.json").write_text("{")
    found = read_scored([run, other], ["MSLUB", "ATLAS"])
    assert found.problems == []
    assert [(one.run.seed, one.dataset, one.case_id) for one in found.scored] == [
        (0, "MSLUB", "a"),
        (0, "MSLUB", "b"),
        (0, "ATLAS", "c"),
        (1, "MSLUB", "b"),
    ]
    assert [(one.run, one.dataset, one.case_id) for one in found.held_out] == [(run, HELD_OUT, "h")]
    assert evaluated_datasets([run, other]) == ["ATLAS", "MSLUB", "Simulated"]
    assert evaluated_datasets([]) == [] and read_scored([], ["MSLUB"]).scored == []


def test_records_that_do_not_hold_are_named_and_cost_themselves_alone(run, image):
    for case in ("damaged", "good", "of another checkpoint"):
        image(run, case)
    folder = evaluation_folder(run, "MSLUB")
    (folder / "damaged_T1.json").write_text("{")
    path = folder / "of another checkpoint_T1.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"made_from": content["made_from"] | {"model": "x"}}))
    found = read_scored([run], ["MSLUB"])
    assert [one.case_id for one in found.scored] == ["good"]
    damaged, other = found.problems
    assert "damaged_T1: the record is damaged" in damaged and str(run) in damaged
    assert "of another checkpoint_T1: the record was made with another checkpoint" in other
    assert "MSLUB" in other


def test_a_run_whose_checkpoint_is_gone_stops_no_other(tmp_path, run, image):
    other = a_run(tmp_path, 1)
    image(run, "a")
    image(other, "a")
    run.checkpoint_path.unlink()
    found = read_scored([run, other], ["MSLUB"])
    assert [one.run for one in found.scored] == [other]
    (problem,) = found.problems
    assert problem.startswith(f"{run}: its checkpoint cannot be read")


def test_failures_are_remembered_until_there_are_none(run, image):
    image(run, "a")
    folder = evaluation_folder(run, "MSLUB")
    write_failures(folder, ["case b failed"])
    write_failures(run.folder / "evaluation", ["it cannot be loaded"])
    found = read_scored([run], ["MSLUB"])
    assert found.problems == ["it cannot be loaded", "case b failed"]
    assert [one.case_id for one in found.scored] == ["a"], "the list is no record"
    for of in (folder, run.folder / "evaluation"):
        write_failures(of, [])
        write_failures(of, [])
    assert read_scored([run], ["MSLUB"]).problems == []


def test_a_damaged_list_of_failures_is_itself_a_problem(run, image):
    image(run, "a")
    path = evaluation_folder(run, "MSLUB") / "failures.json"
    path.write_text("[")
    found = read_scored([run], ["MSLUB"])
    assert len(found.scored) == 1
    (problem,) = found.problems
    assert str(path) in problem


def test_runs_are_each_once_and_sorted_by_number(tmp_path, image):
    tenth, second = a_run(tmp_path, 10), a_run(tmp_path, 2)
    healthy = a_run(tmp_path, 0, "AE")
    scored = [image(of, case) for of in (tenth, second) for case in "ab"]
    records = Records(scored, [image(healthy, "h", dataset=HELD_OUT)], [])
    assert records.runs == [healthy, second, tenth]
    assert Records([], [], []).runs == []
