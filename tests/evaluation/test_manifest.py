"""The commands in the manifest are those that would make the same runs."""

from __future__ import annotations

from dal_auto.evaluation.manifest import commands
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.store.runs import run_of


def test_commands_carry_what_the_user_set_and_nothing_else(make):
    infos = {}
    for seed in (1, 0):
        changed = {"training__steps": 7, "scoring__score": "l1"}
        plans = make.plans_of("DAL", preprocessing__n4_spacing_mm=6.0, **changed)
        plans = plans.override({"configuration.name": "demo"}, "user: asked for")
        infos[run_of(plans, changed, seed)] = RunInfo(plans, {}, "", {}, "")
    assert commands(infos, ["MSLUB", "ATLAS"]) == [
        "dal_plan_and_preprocess -d ATLAS IXI MSLUB --set preprocessing.n4_spacing_mm=6.0",
        "dal_train -d IXI -c demo -m DAL --preset robust --sequences T1 T2 --seeds 0,1 "
        "--set training.steps=7 --set 'scoring.score=\"l1\"'",
        "dal_evaluate",
    ]


def test_without_runs_there_is_only_the_evaluation():
    assert commands({}, []) == ["dal_evaluate"]


def test_a_command_has_what_a_plans_file_and_the_grid_were_asked_for(make):
    plans = make.plans_of("DAL", configuration__batch_subjects=4)
    plans = plans.override({"training.learning_rate": 0.01}, "file: --plans")
    run = run_of(plans, {}, 0)
    _, line, _ = commands({run: RunInfo(plans, {}, "", {}, "")}, [])
    assert "--set configuration.batch_subjects=4" in line
    assert "--set training.learning_rate=0.01" in line
    assert "configuration.name" not in line
