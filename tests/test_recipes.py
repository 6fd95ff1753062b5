"""Containers and batch scripts: that they name what is there, and do with signals what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which our commands and SLURM's write down how they were called."""
    for name in ("dal_predict", "dal_train", "torchrun", "scontrol"):
        program = tmp_path / name
        program.write_text(
            f"#!/bin/bash\ntrap 'echo {name} ended >> \"{tmp_path}/calls\"; exit 143' TERM\n"
            f'echo "{name} $*" >> "{tmp_path}/calls"\n'
            '[ -z "${SLOW:-}" ] || [ "${0##*/}" = scontrol ] || { sleep 20 & wait $!; }\n'
        )
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}


def calls(shell: dict[str, str]) -> list[str]:
    file = Path(shell["PATH"].split(":")[0]) / "calls"
    return file.read_text().splitlines() if file.is_file() else []


def run(shell: dict[str, str], script: str, *arguments: str, **more: str) -> int:
    command = ["bash", str(ROOT / "slurm" / script), *arguments]
    return subprocess.run(command, env=shell | more, capture_output=True, timeout=20).returncode


def test_predict_hands_on_the_cores_and_all_options(shell):
    assert (
        run(shell, "predict.sbatch", "a b", "maps", "--layout", "bids", SLURM_CPUS_PER_TASK="4")
        == 0
    )
    assert calls(shell) == ["dal_predict -i a b -o maps -np 4 --layout bids"]
    assert run(shell, "predict.sbatch", "scans") == 2


def test_train_starts_one_process_a_gpu(shell):
    assert run(shell, "train.sbatch", "IXI", "-c", "paper") == 0
    assert run(shell, "train.sbatch", "IXI", SLURM_GPUS_ON_NODE="2") == 0
    assert calls(shell) == [
        "dal_train -d IXI -c paper",
        "torchrun --nproc-per-node 2 --no-python dal_train -d IXI",
    ]


def test_before_the_time_limit_training_is_ended_in_order_and_queued_again(shell):
    command = ["bash", str(ROOT / "slurm" / "train.sbatch"), "IXI"]
    job = subprocess.Popen(command, env=shell | {"SLOW": "1"})
    deadline = time.monotonic() + 10
    while not calls(shell) and time.monotonic() < deadline:
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=10) == 0
    assert calls(shell) == ["dal_train -d IXI", "dal_train ended", "scontrol requeue 7"]


@pytest.mark.parametrize("name", ["Dockerfile", "dal_auto.def"])
def test_recipes_install_extras_that_exist_and_copy_files_that_are_there(name):
    recipe = (ROOT / "containers" / name).read_text("utf-8")
    extras = re.search(r"\[([\w,-]+)\]\"", recipe)
    assert extras is not None and set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    sources = re.findall(r"^(?:COPY|   ) (\S+) /(?:opt/source|tmp)/\1$", recipe, re.M)
    assert sources and all((ROOT / source).exists() for source in sources)


def test_the_recipes_constrain_every_package_that_is_needed():
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dicom-seg"]]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[><=]", one)[0]).lower() for one in wanted}
    assert names <= pinned
