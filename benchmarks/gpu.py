"""What has to be measured on a GPU, in one run of a few minutes; every part is kept as it ends.

    python benchmarks/gpu.py --minutes 8 --out FOLDER
    python benchmarks/gpu.py --device cpu --configurations demo --steps 1 --train-minutes 0

1. The tests that need CUDA. 2. A training step of each configuration: seconds, images a second and
peak memory beside the planner's count, with and without mixed precision, gradient checkpointing and
torch.compile. 3. The shipped model on the GPU beside the CPU, and in mixed precision beside
float32: largest difference of the map, and average precision of a pasted lesion. 4. Training on
drawn heads until the time is up; the same command goes on with it another time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from memory import plans_for
from preprocessing_parts.cases import test_data
from torch.nn import functional as F

from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Batch, GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.planning.hardware import require_device
from dal_auto.planning.memory import count_training
from dal_auto.plans import Plans
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.model_files import choose_model
from dal_auto.training.optimisation import Optimiser

_ROOT = Path(__file__).parents[1]
_LATE = 10**6  # after every warm start
_WARM = 2
#: The atlas's brain is brighter than this; a dark ball lies in it.
_BRAIN = 0.05
_BALL_PLACE, _BALL_VOXELS, _BALL_VALUE = 0.4, 4, 0.2
#: Way → keys of the plans that it changes.
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"training.amp": False},
    "mixed precision": {"training.amp": True},
    "mixed precision, gradient checkpointing": {
        "training.amp": True,
        "method.settings.checkpoint_activations": True,
    },
    "mixed precision, compiled": {"training.amp": True, "training.compile": True},
}


def main() -> None:
    options = _options()
    require_device(options.device)
    end = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"device": _name_of(options.device), "torch": torch.__version__}
    parts: list[tuple[str, Callable[[], Any]]] = [
        ("tests", lambda: cuda_tests(end) if options.device.startswith("cuda") else "no CUDA"),
        ("steps", lambda: list(steps(options, end))),
        ("agreement", lambda: agreement(options.device)),
        ("training", lambda: training(options, end)),
    ]
    for name, part in parts:
        start = time.monotonic()
        try:
            told[name] = part()
        except Exception as error:  # the other parts are worth their minutes all the same
            told[name] = f"failed: {type(error).__name__}: {error}"
        told[f"{name} seconds"] = round(time.monotonic() - start, 1)
        print(f"{name}: {json.dumps(told[name], indent=1)}", flush=True)
        write_json(options.out / "gpu.json", told)
    print(json.dumps(told))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--train-minutes", type=float, default=60.0, help="for part 4 at most")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--configurations", nargs="+", default=["demo", "small", "paper"])
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each way")
    parser.add_argument("--out", type=Path, default=_ROOT / "benchmarks" / ".cache" / "gpu")
    return parser.parse_args()


def _name_of(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def cuda_tests(end: float) -> dict[str, Any]:
    """The tests that are skipped without a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests"]
    done = subprocess.run(
        command,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(30, end - time.monotonic()),
    )
    return {"exit code": done.returncode, "said": done.stdout.splitlines()[-1:]}


def steps(options: argparse.Namespace, end: float) -> Iterator[dict[str, Any]]:
    """A row for each configuration and way."""
    for name in options.configurations:
        for way, changes in WAYS.items():
            row: dict[str, Any] = {"configuration": name, "way": way}
            if time.monotonic() > end:
                yield row | {"left out": "the time is up"}
                continue
            plans = plans_for(name, 1.0).override(changes, "benchmark")
            try:
                yield row | _step(plans, options.device, options.steps)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                yield row | {"failed": str(error).splitlines()[0][:200]}


def _step(plans: Plans, device: str, count: int) -> dict[str, Any]:
    cuda = device.startswith("cuda")
    torch.manual_seed(0)
    method = find_method("DAL")(plans)
    assert isinstance(method, GradientMethod)
    method.to(device)
    optimiser = Optimiser(method, device)
    configuration = plans.configuration
    subjects, sequences = configuration.batch_subjects, len(plans.sequences)
    batch = Batch(
        torch.rand(subjects, sequences, *configuration.input_shape),
        torch.ones(subjects, 1, *configuration.input_shape),
        torch.ones(subjects, sequences, dtype=torch.bool),
    ).to(device)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    for number in range(_WARM):
        optimiser.step([batch], _LATE + number, 0)
    _wait(device)
    start = time.perf_counter()
    for number in range(count):
        optimiser.step([batch], _LATE + _WARM + number, 0)
    _wait(device)
    seconds = (time.perf_counter() - start) / count
    counted = count_training(plans, amp=plans.training.amp and cuda)[1]
    found = {
        "seconds": round(seconds, 4),
        "images/s": round(subjects * sequences / seconds, 2),
        "counted GB": round(counted / 1e9, 2),
    }
    if cuda:
        found["peak GB"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    return found


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def agreement(device: str) -> dict[str, Any]:
    """The shipped model's score of the atlas's brain with a pasted lesion, in several ways."""
    checkpoint = load_checkpoint(choose_model(name="shipped").checkpoint_path)
    image, brain, lesion = _pasted(checkpoint.plans)
    ways = {"CPU": ("cpu", False), device: (device, False), f"{device}, half": (device, True)}
    found: dict[str, Any] = {}
    reference = None
    for name, (where, half) in ways.items():
        method = checkpoint.build(where)
        with (
            torch.no_grad(),
            torch.autocast(where.split(":")[0], torch.bfloat16, enabled=half),
        ):
            detection = method.detect(
                image.to(where), brain.to(where), "T1", lambda network, volume: network(volume)
            )
        score = detection.scores[""].float().cpu()
        reference = score if reference is None else reference
        counts = ScoreCounts.from_volume(score.numpy(), lesion.numpy())
        found[name] = {
            "AP": round(100 * average_precision(counts), 2),
            "largest difference from the CPU": float((score - reference).abs().max()),
        }
    return found


def _pasted(plans: Plans) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The atlas's T1 on the configuration's grid with a dark ball in it, its mask, the ball."""
    atlas = load_atlas()
    grid = centre_crop_or_pad(atlas.grid, plans.preprocessing.target_shape)
    low = np.rint(np.linalg.solve(atlas.grid.affine, grid.affine)[:3, 3]).astype(int)
    box = [[start, start + n] for start, n in zip(low, grid.shape, strict=True)]
    cropped = crop_and_pad_nd(torch.from_numpy(atlas.image / atlas.image.max()), box)
    shape = plans.configuration.input_shape
    image = F.interpolate(cropped[None, None], size=shape, mode="area")[0, 0]
    brain = (image > _BRAIN).float()
    axes = [torch.arange(n, dtype=torch.float32) - _BALL_PLACE * n for n in shape]
    away = sum(a**2 for a in torch.meshgrid(*axes, indexing="ij"))
    lesion = (away < _BALL_VOXELS**2) & (brain > 0)
    return torch.where(lesion, _BALL_VALUE, image) * brain, brain, lesion


def training(options: argparse.Namespace, end: float) -> Any:
    """The shipped configuration on drawn heads, in a DAL_HOME that is kept; it resumes."""
    data = test_data()
    minutes = min(options.train_minutes, (end - time.monotonic()) / 60)
    if data is None or minutes <= 0:
        return "no label maps" if data is None else "no time"
    home = options.out / "home"
    maps = home / "raw" / "Simulated"
    maps.mkdir(parents=True, exist_ok=True)
    for file in sorted((data / "label_maps").glob("*.nii.gz")):
        if not (maps / file.name).exists():
            (maps / file.name).symlink_to(file)
    environment = os.environ | {"DAL_HOME": str(home)}
    words = ("-d", "Simulated", "-c", "demo", "--sequences", "T1", "T2", "FLAIR")
    commands = (
        ["dal_plan_and_preprocess", "-d", "Simulated"],
        ["dal_train", *words, "--device", options.device, "--set", "training.steps=20000"],
    )
    stop = time.monotonic() + 60 * minutes
    for command in commands:
        program = str(Path(sys.executable).parent / command[0])
        child = subprocess.Popen([program, *command[1:]], env=environment)
        try:
            child.wait(timeout=max(1.0, stop - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
    logs = sorted(home.glob("results/Simulated/*/seed_0/log.jsonl"))
    return {"steps kept": sum(1 for _ in logs[0].open())} if logs else "stopped before a checkpoint"


if __name__ == "__main__":
    main()
