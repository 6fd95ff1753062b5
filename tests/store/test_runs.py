"""Which run is meant: the sole complete one that fits, and never silently one of several."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dal_auto.errors import UsageError
from dal_auto.store.runs import Run, choose_run, choose_runs, complete_runs, run_of


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def trained(results) -> Callable[..., Run]:
    """Put a run on disk; what is in its files does not matter here."""

    def make(name: str, *, training_set: str = "IXI", seed: int = 0, complete: bool = True) -> Run:
        folder = results / training_set / name / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "best.safetensors").touch()
        if complete:
            (folder / "complete.json").touch()
        return Run(folder)

    return make


def test_the_sole_complete_run_is_chosen_without_being_named(trained):
    run = trained("DAL__demo__robust")
    trained("DAL__demo__paper", complete=False)
    assert choose_run(None, None) == run
    assert (run.training_set, run.name, run.method, run.seed) == (
        "IXI",
        "DAL__demo__robust",
        "DAL",
        0,
    )


def test_several_are_an_error_that_lists_them(trained):
    runs = [trained("DAL__demo__robust"), trained("DAL__demo__robust", seed=1)]
    trained("mean-brain__demo__robust")
    with pytest.raises(UsageError, match="several") as caught:
        choose_run("DAL", None)
    listed = re.findall(r"^  (.*)$", str(caught.value), re.MULTILINE)
    assert listed == [str(run) for run in runs]
    assert "-r" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (None, "DAL__demo__robust__a1b2c3d4"),
        (None, "HCP/"),
        ("dal", "a1b2"),
        ("DAL", "HCP/DAL__demo__robust__a1b2c3d4/seed_3"),
    ],
)
def test_a_part_of_its_name_or_its_method_in_any_case_chooses_a_run(trained, method, name):
    trained("DAL__demo__robust")
    trained("raw-intensity__demo__robust")
    wanted = trained("DAL__demo__robust__a1b2c3d4", training_set="HCP", seed=3)
    assert choose_run(method, name) == wanted


def test_a_whole_name_is_no_part_of_longer_ones(trained):
    wanted = trained("DAL__demo__robust", seed=1)
    trained("DAL__demo__robust", seed=10)
    trained("DAL__demo__robust", training_set="MyIXI", seed=1)
    assert choose_run(None, "IXI/DAL__demo__robust/seed_1") == wanted
    assert len(choose_runs(name="DAL__demo__robust/seed_1")) == 3, "a part is one of all"


def test_a_run_can_be_named_by_its_folder_wherever_it_lies(trained, tmp_path, monkeypatch):
    run = trained("DAL__demo__robust", complete=False)
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path / "elsewhere"))
    assert choose_run(None, str(run.folder)) == run
    monkeypatch.chdir(run.folder.parent)
    assert choose_run(None, "seed_0") == run, "a relative path is one too"


def test_a_folder_of_a_training_that_goes_on_is_refused(trained):
    run = trained("DAL__demo__robust", complete=False)
    (run.folder / "last.safetensors").touch()
    with pytest.raises(UsageError, match="is not complete: resume it with dal_train"):
        choose_run(None, str(run.folder))


def test_seeds_choose_among_runs(trained):
    runs = [trained("DAL__demo__robust", seed=seed) for seed in (0, 1, 2)]
    assert choose_runs("DAL", seeds=(2, 0)) == [runs[0], runs[2]]


def test_no_run_is_an_error_that_says_how_to_train(results):
    with pytest.raises(UsageError) as caught:
        choose_run(None, None)
    for words in (
        "dal_train",
        "dal_plan_and_preprocess",
        "GB",
        "-c demo",
        "-r shipped",
        str(results),
    ):
        assert words in str(caught.value)


def test_none_that_fits_names_what_was_asked_and_lists_what_there_is(trained):
    run = trained("DAL__demo__robust")
    with pytest.raises(UsageError) as caught:
        choose_runs("AnoDDPM", "IXI", seeds=(5,))
    for words in ("-m=AnoDDPM", "-r=IXI", "(5,)", str(run), "dal_train"):
        assert words in str(caught.value)


@pytest.mark.parametrize("missing", ["best.safetensors", "complete.json"])
def test_a_run_without_its_last_file_is_not_complete(trained, missing):
    run = trained("DAL__demo__robust")
    assert run.complete and complete_runs() == [run]
    (run.folder / missing).unlink()
    assert not run.complete and complete_runs() == []


def test_a_runs_folder_follows_plans_overrides_and_seed(results, make_plans):
    plans = make_plans()
    plain = run_of(plans, {}, 2)
    assert plain.folder == results / "Phantoms" / "DAL__tiny__robust" / "seed_2"
    one, two = (run_of(plans, {"training.steps": steps}, 2) for steps in (5, 6))
    assert len({plain.name, one.name, two.name}) == 3
    assert one.name.startswith(f"{plain.name}__")
    overrides = {"training.steps": 5, "scoring.score": "l1"}
    backwards = dict(reversed(overrides.items()))
    assert run_of(plans, overrides, 2) == run_of(plans, backwards, 2)
