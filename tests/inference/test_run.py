"""Cases through model and export: what is written, kept, done again, and what stops nothing."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from dal_auto.case import RawCase
from dal_auto.errors import CaseFailed, DiskFull, UsageError
from dal_auto.inference import outputs, request
from dal_auto.inference.remark import Remark
from dal_auto.methods.checkpoint import load_checkpoint, save_checkpoint
from dal_auto.store.runs import Run


def stored(folder: Path) -> dict[str, bytes]:
    """Name → content of every file but the logs, whose seconds differ."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.parent.name != "logs"
    }


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*_*.nii.gz")}


def test_every_case_has_maps_masks_pictures_a_record_and_a_place_in_all_tables(
    predicting, scans, tmp_path
):
    summary = predicting(scans("b", "a"))
    assert (summary.done, summary.kept, summary.failures) == (["a", "b"], [], [])
    maps = tmp_path / "maps"
    for stem in ("a_T1", "a_T2", "b_T1", "b_T2"):
        for ending in ("_anomaly.nii.gz", "_mask.nii.gz", "_anomaly.json", ".png"):
            assert (maps / f"{stem}{ending}").stat().st_size > 0
    cases = pd.read_csv(maps / "cases.csv")
    assert list(cases["case"]) == ["a"] * 3 + ["b"] * 3 and "seconds" not in cases
    assert list(cases["sequence"]) == ["T1", "T2", "joint"] * 2
    seconds = pd.read_csv(maps / "logs" / "seconds.csv")
    steps = set(seconds.loc[seconds["case"] == "a", "step"])
    assert {"N4", "network, score and filters", "export", "write", "picture"} <= steps
    assert (maps / "failures.csv").read_text().splitlines() == ["case,step,cause"]
    assert "a_T1.png" in (maps / "index.html").read_text()


def test_a_second_run_keeps_everything_and_asks_the_chain_for_nothing(predicting, scans, tmp_path):
    cases = scans("a", "b")
    predicting(cases)
    before = times(tmp_path / "maps")

    def never(task):
        raise AssertionError("the chain ran")

    summary = predicting(cases, never)
    assert (summary.done, summary.kept) == ([], ["a", "b"])
    assert times(tmp_path / "maps") == before


def test_without_resume_all_is_done_again_to_the_same_bytes(predicting, scans, tmp_path):
    cases = scans("a")
    predicting(cases)
    before, when = stored(tmp_path / "maps"), times(tmp_path / "maps")
    assert predicting(cases, resume=False).done == ["a"]
    assert stored(tmp_path / "maps") == before
    assert not set(times(tmp_path / "maps").values()) & set(when.values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda maps: (maps / "a_T1_anomaly.nii.gz").unlink(),
        lambda maps: (maps / "a_T2_mask.nii.gz").write_bytes(b"half"),
        lambda maps: (maps / "a_T1.png").unlink(),
        lambda maps: (maps / "a_T1_anomaly.json").write_text("{}"),
        lambda maps: (maps / "records" / "a.json").write_text('{"format": "'),
        lambda maps: (maps / "records" / "a.json").unlink(),
    ],
)
def test_a_case_of_which_a_file_is_gone_or_changed_is_done_again(
    predicting, scans, tmp_path, spoil
):
    cases = scans("a", "b")
    predicting(cases)
    before = stored(tmp_path / "maps")
    spoil(tmp_path / "maps")
    summary = predicting(cases)
    assert (summary.done, summary.kept) == (["a"], ["b"])
    assert stored(tmp_path / "maps") == before


def test_other_options_another_scan_or_other_tools_do_it_again(predicting, scans, monkeypatch):
    cases = scans("a")
    predicting(cases)
    assert predicting(cases, threshold=0.4).done == ["a"]
    assert predicting(cases, threshold=0.4, save=frozenset({"anatomy"})).done == ["a"]
    assert predicting(cases).done == ["a"]
    assert predicting(cases, save=frozenset({"mask"})).kept == ["a"], "it is written anyhow"
    assert predicting(cases, layout="bids").done == ["a"]
    assert predicting(cases).done == ["a"]
    file = cases[0].sequences["T1"]
    shutil.copyfile(cases[0].sequences["T2"], file)
    assert predicting(cases).done == ["a"]
    monkeypatch.setattr(request, "versions", lambda: {"torch": "another"})
    assert predicting(cases).done == ["a"]


def test_what_an_earlier_request_left_and_this_one_does_not_write_is_removed(
    predicting, scans, tmp_path
):
    cases = scans("a")
    predicting(cases, save=frozenset({"pseudo-healthy", "atlas-space"}))
    assert (tmp_path / "maps" / "a_T1_pseudo-healthy_space-atlas.nii.gz").is_file()
    predicting(cases)
    names = {path.name for path in (tmp_path / "maps").glob("a_T1*.nii.gz")}
    kinds = ("anomaly", "brain-mask", "mask", "pseudo-healthy")
    assert names == {f"a_T1_{kind}.nii.gz" for kind in kinds}


def test_a_case_that_fails_anywhere_stops_no_other_and_its_old_record_goes(
    predicting, prepared, scans, tmp_path, monkeypatch, caplog
):
    cases = scans("chain", "good", "network", "odd", "write")
    predicting(cases)

    def prepare(task):
        if task.case.case_id == "chain":
            raise CaseFailed("chain", "N4", "it did not end")
        found = prepared(task)
        if task.case.case_id == "network":
            found.case.images.resize((0,), refcheck=False)
        return found

    whole = outputs.draw_map

    def draw(path, *rest, **volumes):
        if path.name == "write_T2.png":
            raise RuntimeError("no ink")
        whole(path, *rest, **volumes)

    monkeypatch.setattr(outputs, "draw_map", draw)
    foreign = scans("odd", sequences=("FLAIR",))
    ordered = [foreign[0] if case.case_id == "odd" else case for case in cases]
    summary = predicting(ordered, prepare, resume=False)
    assert (summary.done, len(summary.failures)) == (["good"], 4)
    failed = pd.read_csv(tmp_path / "maps" / "failures.csv").set_index("case")
    assert list(failed.index) == ["chain", "network", "odd", "write"]
    assert list(failed["step"]) == ["N4", "network", "choice of sequences", "writing"]
    assert "no ink" in failed.loc["write", "cause"] and "model knows" in failed.loc["odd", "cause"]
    assert [path.stem for path in (tmp_path / "maps" / "records").glob("*.json")] == ["good"]
    assert set(pd.read_csv(tmp_path / "maps" / "cases.csv")["case"]) == {"good"}
    page = (tmp_path / "maps" / "index.html").read_text()
    assert "no ink" in page and "it did not end" in page
    old = tmp_path / "maps" / "old"
    assert {path.stem for path in old.glob("*/records/*.json")} == set(failed.index)
    assert "odd: it has no maps now; those of an earlier run lie in" in caplog.text


def test_a_sequence_that_the_model_does_not_know_is_left_out_and_that_is_said(
    predicting, scans, tmp_path, caplog
):
    predicting(scans("a", sequences=("T1", "FLAIR")))
    assert "a: FLAIR is left out" in caplog.text
    (row,) = pd.read_csv(tmp_path / "maps" / "cases.csv").to_dict("records")
    assert row["sequence"] == "T1" and "FLAIR is left out" in row["warnings"]


def test_decisions_warnings_and_flags_are_told_and_kept(
    predicting, prepared, scans, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    predicting(
        scans("a"), lambda task: prepared(task, warnings=(Remark(text="T1 and T2 look swapped"),))
    )
    assert "a: needs N4; not needed: skull stripping (deepbet)" in caplog.text
    assert "a: T1 and T2 look swapped" in caplog.text and "atlas_dice 0.5" in caplog.text
    log = json.loads((tmp_path / "maps" / "logs" / "a.json").read_text())
    assert log["warnings"] == ["T1 and T2 look swapped"] and log["seconds"]["N4"] == 1.5
    row = pd.read_csv(tmp_path / "maps" / "cases.csv").iloc[0]
    assert "atlas_dice 0.5" in row["flags"] and row["warnings"] == "T1 and T2 look swapped"
    page = (tmp_path / "maps" / "index.html").read_text()
    assert "T1 and T2 look swapped" in page and "atlas_dice 0.5" in page


def test_a_volume_that_the_method_does_not_have_is_missed_once_aloud(predicting, scans, caplog):
    predicting(scans("a", "b"), save=frozenset({"anatomy", "pseudo-healthy"}))
    assert caplog.text.count("the method has no anatomy volume") == 1
    assert "no pseudo-healthy" not in caplog.text


@pytest.mark.parametrize("layout", ["flat", "bids"])
def test_what_a_failed_case_had_before_goes_when_it_is_next_written(
    predicting, prepared, scans, tmp_path, layout
):
    """The failure moves it out of the way, under the same names."""
    maps = tmp_path / "maps"
    predicting(scans("a"), layout=layout)
    before = [name for name in stored(maps) if "a_" in name or "sub-a" in name]
    content = {name: stored(maps)[name] for name in before}
    assert len(before) > 20

    def fail(task):
        raise CaseFailed("a", "N4", "it did not end")

    for _ in range(2):
        predicting(scans("a"), fail, threshold=0.4, layout=layout)
        assert not set(stored(maps)) & set(before)
        (group,) = (maps / "old").iterdir()
        old = stored(group)
        assert {name: old.pop(name) for name in before} == content
        assert list(old) == ["records/a.json"]
    predicting(scans("a", sequences=("T1",)), layout=layout)
    left = set(stored(maps))
    assert not any("T2" in name or "joint" in name for name in left)
    assert {name for name in before if "T2" not in name and "joint" not in name} <= left
    assert [path.name for path in (maps / "records").iterdir()] == ["a.json"]
    assert not (maps / "old").exists()


@pytest.mark.parametrize("layout", ["flat", "bids"])
def test_half_a_case_of_a_killed_run_is_not_left_among_the_maps(
    predicting, scans, tmp_path, caplog, layout
):
    """A script that collects all masks would take it for the result of the scan that failed."""
    maps = tmp_path / "maps"
    predicting(scans("a"), layout=layout)
    (maps / "records" / "a.json").unlink()  # what is written last

    def fail(task):
        raise CaseFailed("a", "N4", "it did not end")

    predicting(scans("a"), fail, layout=layout)
    kinds = (".nii.gz", ".png", ".tfm", "anomaly.json")
    left = [path for path in maps.rglob("*") if path.name.endswith(kinds)]
    assert left and all(path.is_relative_to(maps / "old" / "unfinished") for path in left)
    assert "a: it has no maps now" in caplog.text
    predicting(scans("a"), layout=layout)
    assert list(maps.rglob("*mask.nii.gz")) and not (maps / "old").exists()


def test_maps_of_other_scans_of_the_same_name_are_kept_and_named(
    predicting, scans, tmp_path, caplog
):
    """As of two sites that both count their patients from 1."""
    maps = tmp_path / "maps"
    cases = scans("p1")
    predicting(cases)
    before = {name: data for name, data in stored(maps).items() if "p1" in name}
    for path in cases[0].sequences.values():
        path.write_bytes(scans("other")[0].sequences["T1"].read_bytes())
    assert predicting(cases).done == ["p1"]
    assert "p1: " in caplog.text and "other scans of this name (p1_T1.nii.gz, p1_T2" in caplog.text
    (group,) = (maps / "old").iterdir()
    assert stored(group) == before and str(group) in caplog.text
    assert predicting(cases).kept == ["p1"]
    assert stored(group) == before
    caplog.clear()
    predicting(cases, threshold=0.4)
    assert "other scans" not in caplog.text, "they are the same as those of the last run"
    assert stored(group) == before


def test_while_a_case_is_written_anew_its_old_record_is_not_there(
    predicting, scans, tmp_path, monkeypatch
):
    cases = scans("a")
    predicting(cases)
    seen = []

    def write(path, *_, **__):
        seen.append((tmp_path / "maps" / "records" / "a.json").exists())
        raise RuntimeError

    monkeypatch.setattr(outputs, "write_image", write)
    predicting(cases, threshold=0.4)
    assert seen == [False]


def test_an_interrupt_leaves_nothing_half_done_and_the_next_run_goes_on(
    predicting, prepared, scans, tmp_path
):
    cases = scans("a", "b", "c")
    predicting(cases)
    whole = stored(tmp_path / "maps")
    shutil.rmtree(tmp_path / "maps")

    def prepare(task):
        if task.case.case_id == "c":
            raise KeyboardInterrupt
        return prepared(task)

    with pytest.raises(KeyboardInterrupt):
        predicting(cases, prepare)
    maps = tmp_path / "maps"
    assert not list(maps.rglob(".*")), "no temporary files, no lock"
    records = {path.stem for path in (maps / "records").glob("*.json")}
    assert set(pd.read_csv(maps / "cases.csv")["case"]) == records
    summary = predicting(cases)
    assert set(summary.kept) == records and "c" in summary.done
    assert stored(maps) == whole


@pytest.mark.parametrize("layout", ["flat", "bids"])
def test_an_id_too_long_for_file_names_fails_alone(predicting, scans, tmp_path, layout):
    good, other = scans("a", "b")
    long = replace(other, case_id="study_" * 50)
    summary = predicting([long, good], layout=layout)
    assert summary.done == ["a"] and len(summary.failures) == 1
    assert "300 bytes" in summary.failures[0] and "shorter name" in summary.failures[0]
    assert predicting([long, good], layout=layout).kept == ["a"]


def test_a_full_disk_ends_the_run(predicting, scans, monkeypatch, tmp_path):
    def full(path, *_, **__):
        raise DiskFull(path, "/")

    monkeypatch.setattr(outputs, "write_image", full)
    with pytest.raises(DiskFull):
        predicting(scans("a", "b", "c"))
    assert not list((tmp_path / "maps" / "records").glob("*"))


def test_the_next_case_is_predicted_while_the_last_is_written(
    predicting, prepared, scans, monkeypatch
):
    """The first case is written only once the chain was asked for the second."""
    asked = threading.Event()

    def prepare(task):
        if task.case.case_id == "b":
            asked.set()
        return prepared(task)

    write = outputs.write_image

    def patient(*arguments, **options):
        assert asked.wait(30), "writing holds up the next case"
        write(*arguments, **options)

    monkeypatch.setattr(outputs, "write_image", patient)
    assert predicting(scans("a", "b"), prepare).done == ["a", "b"]


def test_a_run_without_thresholds_wants_one(predicting, scans, run: Run):
    checkpoint = load_checkpoint(run.checkpoint_path)
    save_checkpoint(run.checkpoint_path, type(checkpoint)(checkpoint.plans, checkpoint.tensors))
    with pytest.raises(UsageError, match="no practical threshold for T1, T2"):
        predicting(scans("a"))
    assert predicting(scans("a"), threshold=0.3).done == ["a"]


def test_a_lesion_mask_is_of_no_concern(predicting, scans, tmp_path):
    (case,) = scans("a")
    with_mask = RawCase("x", "a", "a", case.sequences, lesion_mask=tmp_path / "gone.nii.gz")
    assert predicting([with_mask]).done == ["a"]


def test_the_mask_is_the_stored_map_from_the_threshold_on(predicting, scans, tmp_path):
    predicting(scans("a"))
    maps = tmp_path / "maps"
    score = nib.load(maps / "a_T1_anomaly.nii.gz").get_fdata(dtype=np.float32)
    mask = np.asarray(nib.load(maps / "a_T1_mask.nii.gz").dataobj)
    assert mask.dtype == np.uint8 and 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(mask, score >= 0.25)
    np.testing.assert_array_equal(score, score.astype(np.float16).astype(np.float32))


def test_masks_go_onto_the_series_of_their_scans_where_that_is_asked_for(
    predicting, scans, tmp_path, monkeypatch
):
    """The joint mask goes onto the series of the T1, in whose space it lies."""
    (case,) = scans("a")
    series = {name: (tmp_path / f"{name}.dcm",) for name in case.sequences}
    written = {}

    def write(path, mask, files, found):
        written[path.name] = (found.label, files, mask.shape)
        path.write_bytes(b"DICM")

    monkeypatch.setattr(outputs, "write_segmentation", write)
    predicting([replace(case, dicom=series)], save=frozenset({"dicom-seg"}))
    assert written == {
        "a_T1_mask.dcm": ("anomaly T1", series["T1"], (48, 48, 48)),
        "a_T2_mask.dcm": ("anomaly T2", series["T2"], (48, 48, 48)),
        "a_joint_mask.dcm": ("anomaly joint", series["T1"], (48, 48, 48)),
    }
    predicting([replace(case, dicom=series)])
    assert not list((tmp_path / "maps").glob("*.dcm")), "they were not asked for any more"


def test_every_viewer_leads_to_the_other_maps_of_its_case(predicting, scans, tmp_path):
    predicting(scans("a"))
    names = {name: f'href="a_{name}_viewer.html"' for name in ("T1", "T2", "joint")}
    for own in names:
        page = (tmp_path / "maps" / f"a_{own}_viewer.html").read_text("utf-8")
        assert [name for name, link in names.items() if link in page] == sorted(
            set(names) - {own}, key=list(names).index
        )
