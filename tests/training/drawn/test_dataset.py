"""Label maps on disk, and what their heads are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from dal_auto.errors import UsageError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.stored import load_decisions
from dal_auto.training.drawn import dataset
from dal_auto.training.drawn.dataset import label_maps
from dal_auto.training.drawn.heads import head_name
from dal_auto.workers import Workforce


@pytest.fixture
def maps(tmp_path: Path):
    folder = tmp_path / "Simulated"
    folder.mkdir()

    def put(*names: str) -> Path:
        for name in names:
            (folder / name).touch()
        return tmp_path

    return put


def test_every_map_is_a_head_of_its_own_name(maps):
    found = label_maps(maps("head.001.nii.gz", "head.002.nii", ".hidden.nii", "notes.txt"))
    assert [head_name(path) for path in found] == ["head.001", "head.002"]


def test_two_maps_of_one_name_are_refused(maps):
    """One head would be written by two workers at once."""
    with pytest.raises(UsageError, match="several label maps that are called b"):
        label_maps(maps("a.nii", "b.nii", "b.nii.gz"))


def test_fewer_than_two_are_refused(maps):
    with pytest.raises(UsageError, match="holds 1"):
        label_maps(maps("a.nii.gz"))


def test_a_map_that_was_taken_out_is_no_longer_trained_on(maps, monkeypatch, tmp_path):
    """Its cases lie there still, and do not count."""
    monkeypatch.setenv("DAL_PREPROCESSED", str(tmp_path / "preprocessed"))
    monkeypatch.setattr(dataset, "run_tasks", lambda *_, **__: [])
    raw = maps("a.nii", "b.nii", "c.nii.gz")
    known = []
    for taken_out in (None, "b.nii"):
        if taken_out:
            (raw / "Simulated" / taken_out).unlink()
        dataset.prepare_simulated(raw, PreprocessingPlan(), workforce=Workforce(processes=1))
        known.append({name.split("_")[0] for name in load_decisions("Simulated").steps})
    assert known == [{"a", "b", "c"}, {"a", "c"}]
