"""Several processes under torchrun: the gradients of one process that has the whole batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dal_auto import distributed
from dal_auto.errors import UsageError
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.preprocessing.steps import NO_STEPS, DatasetDecisions
from dal_auto.store.atomic import write_json
from dal_auto.store.standard_cases import case_ids

SCRIPT = Path(__file__).with_name("two_processes.py")
STEPS = 2


def run_script(processes: int, *arguments: object) -> None:
    launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone"]
    launcher += [] if processes == 1 else [f"--nproc-per-node={processes}"]
    subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)],
        check=True,
        capture_output=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def gradients(processes: int, plans: Plans, dataset: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Losses and gradients of a warm start's last step and the next one."""
    path, out = folder / f"{processes}.json", folder / f"{processes}.safetensors"
    path.write_text(json.dumps(plans.to_json()))
    run_script(processes, path, dataset, STEPS, out)
    return load_file(out)


def test_two_processes_have_the_gradients_of_one_with_the_whole_batch(
    make_plans, incomplete_folder, tmp_path
):
    # Without what is drawn anew in every process: then the two must agree with the one.
    plans = make_plans(
        training__accumulation=2,
        method__settings__warm_start_steps=1,
        method__settings__combinations="all",
        method__settings__edge_noise=0.0,
    )
    whole = plans.override({"configuration.batch_subjects": 4}, "test")
    one = gradients(1, whole, incomplete_folder, tmp_path)
    two = gradients(2, plans, incomplete_folder, tmp_path)
    assert one.keys() == two.keys()
    assert any(key.startswith("0.gradient.E_A") for key in one)
    assert not any(key.startswith("0.gradient.R_D") for key in one), "a warm start trains E_A"
    assert any(key.startswith("1.gradient.R_D") for key in one)
    for step in range(STEPS):
        mine = {name: value for name, value in one.items() if name.startswith(f"{step}.")}
        typical = max(value.norm() for name, value in mine.items() if "gradient" in name)
        for name, value in mine.items():
            # Some gradients are 0 but for rounding (a bias before a normalisation).
            error = (value - two[name]).norm() / max(value.norm(), 1e-3 * typical)
            assert error <= 1e-5, f"{name}: relative error {error:.1e}"


@pytest.mark.long
def test_the_command_trains_with_two_processes_and_one_of_them_writes(dataset_folder, tmp_path):
    """From torchrun to the complete run: the others wait while the first validates."""
    preprocessed = tmp_path / "preprocessed" / "Phantoms"
    shutil.copytree(dataset_folder / "cases", preprocessed / "cases")
    decisions = DatasetDecisions(
        dataset="Phantoms",
        preprocessing=PreprocessingPlan(target_shape=(32, 32, 32)),
        steps=dict.fromkeys(case_ids(preprocessed / "cases"), NO_STEPS),
    )
    write_json(preprocessed / "preprocessing.json", decisions.model_dump(mode="json"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "dal_auto.cli.train", "-d", "Phantoms", "-c", "demo", "--device", "cpu"]
    for value in (
        "configuration.input_shape=[16,16,16]",
        "training.steps=4",
        "training.checkpoint_every=2",
        "training.keep=best",
        "training.validation_fraction=0.3",
        "method.settings.warm_start_steps=1",
    ):
        command += ["--set", value]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DAL_HOME": str(tmp_path)}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("trained: ") == 1, "one process speaks for all"
    (complete,) = (tmp_path / "results").glob("Phantoms/*/seed_0/complete.json")
    assert json.loads(complete.read_text())["processes"] == 2
    lines = (complete.parent / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert "val_AP" in json.loads(lines[-1])


@pytest.mark.parametrize(
    ("environment", "device", "expected"),
    [
        ({}, None, None),
        ({}, "cuda:1", "cuda:1"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, None, "cuda:1"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, "cpu", "cpu"),
    ],
)
def test_each_process_gets_a_gpu_of_its_own(monkeypatch, environment, device, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.local_device(device) == expected


@pytest.mark.parametrize(
    ("device", "said"), [(None, "3 processes.*2 GPUs"), ("cuda:0", "leave out")]
)
def test_a_world_that_does_not_fit_the_machine_is_an_error(monkeypatch, device, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said):
        distributed.local_device(device)


def test_a_lone_process_asks_nobody():
    value = torch.rand(3)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.gathered(value) is value and distributed.mean(value) is value
    assert distributed.told("text", "cpu") == "text"
    distributed.barrier()
