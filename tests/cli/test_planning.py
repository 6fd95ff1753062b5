"""Options of the commands that plan, and the table that they show."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from dal_auto import paths
from dal_auto.cli import common, plan_and_preprocess, train
from dal_auto.cli.commands import planning
from dal_auto.errors import PlansError, UsageError
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.wishes import PlannedRun
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.preprocessing.steps import NO_STEPS

PLANS = Plans.parse(
    {
        "training_set": "IXI",
        "sequences": ["T1", "T2"],
        "intensity": {"landmarks": {"T1": [0.05, 0.333333, 0.9]}},
        "configuration": {
            "name": "demo",
            "input_shape": [40, 56, 40],
            "spacing_mm": [4.0, 4.0, 4.0],
            "window": [40, 56, 40],
        },
        "value_sources": {"intensity.landmarks": "measured: mean of 3 cases"},
    }
)


def record_text(name: str, **changes: object) -> str:
    content: dict[str, object] = {
        "dataset": "Healthy",
        "case_id": name,
        "patient_id": name,
        "sequences": ["T1", "T2"],
        "has_lesion_mask": False,
        "percentiles": {"T1": [0, 1, 4], "T2": [0, 2, 4]},
        "quality": {},
        "geometry": {"native": {}, "atlas_to_native": {}},
        "scale": {"T1": 1.0, "T2": 1.0},
        "steps": [],
        "hash": "0",
        "array_sha256": "0",
    }
    return json.dumps(content | changes)


@pytest.fixture
def healthy(tmp_path, monkeypatch) -> Path:
    """A DAL_HOME with the records of two preprocessed healthy cases of a dataset Healthy."""
    monkeypatch.setenv("DAL_HOME", str(tmp_path))
    for name in ("DAL_RAW", "DAL_PREPROCESSED", "DAL_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    folder = paths.preprocessed() / "Healthy"
    (folder / "cases").mkdir(parents=True)
    chain = PreprocessingPlan(percentiles=(1, 50, 99)).model_dump(mode="json")
    steps = dict.fromkeys(("a", "b", "c"), NO_STEPS.model_dump(mode="json"))
    decisions = {"dataset": "Healthy", "preprocessing": chain, "steps": steps}
    (folder / "preprocessing.json").write_text(json.dumps(decisions))
    for name in ("a", "b"):
        (folder / "cases" / f"{name}.json").write_text(record_text(name))
    return folder


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    common.add_planning(parser)
    return parser.parse_args(arguments)


def test_hardware_is_this_machine_or_a_gpu_on_paper():
    assert planning.hardware_of(options(), "cpu") == Hardware.measure("cpu")
    on_paper = planning.hardware_of(options("--device-memory", "24"))
    assert on_paper == Hardware("cuda", 24.0, on_paper=True)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much"])
def test_a_memory_that_is_none_is_a_usage_error(text, capsys):
    with pytest.raises(SystemExit) as caught:
        options("--device-memory", text)
    assert caught.value.code == 2
    assert "--device-memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "in_file", "settled"),
    [(None, None, "DAL"), ("x", None, "x"), (None, "y", "y"), ("x", "x", "x")],
)
def test_option_and_file_agree_or_one_of_them_speaks(told, in_file, settled):
    from_file = {} if in_file is None else {"method.name": in_file}
    assert planning.settled("-m", told, from_file, "method.name", "DAL") == settled


def test_option_and_file_that_contradict_each_other_are_an_error_that_names_both():
    with pytest.raises(UsageError, match=r"-m says 'x', and method\.name in the plans file 'y'"):
        planning.settled("-m", "x", {"method.name": "y"}, "method.name", "DAL")


@pytest.mark.parametrize(
    ("key", "value"), [("sequences", "T1"), ("sequences", [1]), ("method.name", ["DAL"])]
)
def test_a_name_of_the_wrong_type_in_the_file_is_named(key, value):
    with pytest.raises(PlansError) as caught:
        planning.wishes_of({key: value}, assignments={})
    assert caught.value.key == key


def test_a_grid_of_the_files_own_is_no_configuration_to_look_up():
    assert planning.wishes_of({"configuration.name": "mine"}, assignments={}).configuration is None
    known = planning.wishes_of({"configuration.name": "small"}, assignments={})
    assert known.configuration == "small"


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_table_shows_every_value_with_its_source_within_the_width(columns):
    run = PlannedRun(PLANS, Hardware("cpu", 16), {}, None)
    lines = planning.plans_table(run, columns)
    assert max(map(len, lines)) <= columns
    sections = [line for line in lines if not line.startswith(" ")]
    assert sections == [
        *("run", "preprocessing", "intensity", "configuration", "method", "training", "scoring"),
        "derived",
    ]
    keys = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    for key, _, _ in PLANS.flat():
        assert key.removeprefix(key.split(".")[0] + ".") in keys
    (steps,) = [line for line in lines if line.split()[0] == "learning_rate"]
    assert steps.split()[1] == "0.0001"
    assert "paper: §4.2.1" in " ".join(steps.split())
    text = " ".join(" ".join(lines).split())
    assert "0.05, 0.3333, 0.9" in text
    assert "mean_filter in voxels 9, 9, 9" in text


def test_planning_only_shows_the_plans_of_the_cases_that_are_there(healthy, capsys):
    assert plan_and_preprocess.main(["-d", "Healthy", "--plan-only"]) == 0
    plans = Plans.parse(json.loads((healthy / "plans.json").read_text()))
    assert plans.sequences == ("T1", "T2")
    assert "measured: mean of 2 cases of Healthy" in " ".join(capsys.readouterr().err.split())


def test_plans_for_another_device_are_shown_and_not_written(healthy, capsys):
    arguments = ["-d", "Healthy", "--plan-only", "--device-memory", "8"]
    assert plan_and_preprocess.main(arguments) == 0
    assert not (healthy / "plans.json").exists()
    assert "user: --device-memory, cuda with 8 GB" in " ".join(capsys.readouterr().err.split())


def test_the_brains_are_measured_against_the_atlas_once_they_are_known(healthy, capsys):
    for name in ("a", "b"):
        text = record_text(name, quality={"brain_ml": 2000.0})
        (healthy / "cases" / f"{name}.json").write_text(text)
    assert plan_and_preprocess.main(["-d", "Healthy", "--plan-only"]) == 0
    text = capsys.readouterr().err
    assert "times the volume of" in text
    assert "atlas_transform=affine" in text


def test_cases_that_never_come_in_pairs_are_planned_for_the_commoner_sequence(healthy):
    for name, sequence in (("a", "T1"), ("b", "T2"), ("c", "T2")):
        content = record_text(name, sequences=[sequence], percentiles={sequence: [0, 1, 2]})
        (healthy / "cases" / f"{name}.json").write_text(content)
    assert plan_and_preprocess.main(["-d", "Healthy", "--plan-only"]) == 0
    assert json.loads((healthy / "plans.json").read_text())["sequences"] == ["T2"]


@pytest.mark.parametrize(
    ("sequences", "asked"),
    [
        ([("T1", "T2"), ("T1", "T2")], ""),
        ([("T1",), ("T1",)], " --sequences T1"),
        ([("FLAIR", "T1", "T2"), ("T1", "T2")], " --sequences T1 T2 FLAIR"),
        ([("FLAIR",), ("FLAIR",)], " --sequences FLAIR"),
        ([("FLAIR",), ("T1", "T2")], ""),
    ],
)
def test_what_is_planned_is_what_the_printed_command_trains(healthy, capsys, sequences, asked):
    for name, own in zip(("a", "b"), sequences, strict=True):
        content = record_text(name, sequences=own, percentiles={one: [0, 1, 2] for one in own})
        (healthy / "cases" / f"{name}.json").write_text(content)
    assert plan_and_preprocess.main(["-d", "Healthy", "--plan-only"]) == 0
    assert f"plans for `dal_train -d Healthy{asked}`" in capsys.readouterr().err
    plans = Plans.parse(json.loads((healthy / "plans.json").read_text()))
    assert plans.sequences == (tuple(asked.split()[1:]) or ("T1", "T2"))
    found = "measured: what healthy cases have" if asked else "paper: §4.1.1"
    assert plans.value_sources["sequences"] == found
    assert train.main(["-d", "Healthy", *asked.split(), "--plan-only", "--device", "cpu"]) == 0


def test_why_nothing_is_planned_is_said(healthy, capsys):
    for name in ("a", "b"):
        (healthy / "cases" / f"{name}.json").write_text(record_text(name, has_lesion_mask=True))
    assert plan_and_preprocess.main(["-d", "Healthy", "--plan-only"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "no training is planned: of its 2 cases none without a lesion mask has a T1" in said
    healthy.rename(healthy.with_name("BraTS-GLI"))
    assert plan_and_preprocess.main(["-d", "BraTS-GLI", "--plan-only"]) == 0
    assert "no training is planned: it is a test set" in " ".join(capsys.readouterr().err.split())


def test_training_can_show_its_plans_and_stop(healthy, tmp_path, capsys):
    file = tmp_path / "mine.json"
    file.write_text('{"training_set": "Healthy", "training": {"steps": 7}}')
    arguments = ["--plans", str(file), "--plan-only", "--device", "cpu"]
    assert train.main([*arguments, "--set", "training.checkpoint_every=3"]) == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "steps 7 file: --plans" in text
    assert "checkpoint_every 3 user: --set" in text
    assert not paths.results().exists()


def test_a_wrong_key_in_the_plans_file_ends_the_command_and_is_named(healthy, tmp_path, capsys):
    file = tmp_path / "mine.json"
    file.write_text('{"training": {"setps": 7}}')
    assert train.main(["-d", "Healthy", "--plans", str(file), "--plan-only"]) == 2
    assert "training.setps" in capsys.readouterr().err


def test_plans_for_a_gpu_that_is_not_there_do_not_train(healthy, capsys):
    arguments = ["-d", "Healthy", "--device", "cpu", "-c", "demo"]
    assert train.main([*arguments, "--device-memory", "8", "--plan-only"]) == 0
    if not Hardware.measure().device.startswith("cuda"):
        assert train.main(["-d", "Healthy", "-c", "demo", "--device-memory", "8"]) == 2
        assert "--plan-only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "preprocessing.n4_spacing_mm=5.0"], "leave out --plan-only"),
        (["--skull-strip", "robex"], "skull_strip='deepbet', not 'robex'"),
        (["--set", "preprocessing.n4_spacing=5.0"], "Did you mean preprocessing.n4_spacing_mm?"),
        (["--set", "trainin.steps=5"], "Did you mean training?"),
    ],
)
def test_plan_only_takes_no_value_that_it_would_not_keep(
    healthy: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    code = plan_and_preprocess.main(["-d", "Healthy", "--plan-only", *options])
    assert code == 2 and said in capsys.readouterr().err


def test_a_dataset_that_is_nearly_right_is_asked_after(
    healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["-d", "Healty", "--device", "cpu"]) == 2
    assert "Did you mean Healthy?" in capsys.readouterr().err
