"""What a checkpoint says of its run; one that cannot be read costs its run alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from dal_auto.evaluation.run_info import RunInfo, read_run_info
from dal_auto.store.runs import Run


def test_all_that_tables_ask_for_is_read(home, make):
    run = make.train(
        "raw-intensity",
        1,
        progress={"selection_cases": ["b", "a", "b"]},
        training__select_on="MSLUB",
    )
    infos, problems = read_run_info([run])
    assert list(infos) == [run] and problems == []
    found = infos[run]
    assert found.plans.method.name == "raw-intensity" and found.plans.training_set == "IXI"
    assert found.thresholds == {f"{s}/{v}": 0.5 for s in ("T1", "T2") for v in ("bright", "dark")}
    assert found.threshold_source == "2 healthy validation cases"
    assert found.selected_on == {"mslub": {"a", "b"}}


def test_cases_that_chose_the_models_before_it_count_too(home, make):
    """Fine-tuned without `--select-on`, from a model that was chosen by annotated cases."""
    progress = {"selected_before": {"MSLUB": ["c"], "ATLAS": ["d"]}, "selection_cases": ["a"]}
    run = make.train("raw-intensity", 1, progress=progress, training__select_on="MSLUB")
    found = read_run_info([run])[0][run]
    assert found.selected_on == {"mslub": {"a", "c"}, "atlas": {"d"}}
    assert found.model == hashlib.sha256(run.checkpoint_path.read_bytes()).hexdigest()
    assert found.versions == {"dal_auto": "0", "torch": "0"}


def test_what_is_not_said_is_empty(home, make):
    run = make.train("mean-brain", 0)
    (run.folder / "complete.json").unlink()
    found, problems = read_run_info([run])
    assert found[run].selected_on == {} and found[run].versions == {}
    assert problems == [] and read_run_info([]) == ({}, [])


def test_a_checkpoint_that_cannot_be_read_costs_its_run_alone(home, make):
    spoilt, whole = make.train("mean-brain", 0), make.train("mean-brain", 1)
    spoilt.checkpoint_path.write_bytes(b"spoilt")
    lost = Run(whole.folder.with_name("seed_7"))
    found, (first, second) = read_run_info([spoilt, lost, whole])
    assert list(found) == [whole]
    assert first.startswith(f"{spoilt}: ") and str(spoilt.checkpoint_path) in first
    assert second.startswith(f"{lost}: ")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_damaged_record_of_the_training_costs_its_versions_alone(home, make, content):
    run = make.train("mean-brain", 0)
    (run.folder / "complete.json").write_bytes(content)
    found, (problem,) = read_run_info([run])
    assert found[run].versions == {} and found[run].thresholds
    assert str(run) in problem and "complete.json" in problem


def test_only_methods_that_say_so_know_nothing_of_anatomy(make):
    def info(method: str) -> RunInfo:
        return RunInfo(make.plans_of(method), {}, "", {}, "")

    assert info("mean-brain").trivial and info("raw-intensity").trivial
    assert not info("DAL").trivial
    content = info("DAL").plans.to_json()
    content["method"]["name"] = "not installed here"
    unknown = replace(info("DAL"), plans=type(info("DAL").plans).parse(content))
    assert not unknown.trivial
