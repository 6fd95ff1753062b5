"""Memory of a training step: what the planner counts on paper, beside what a process takes.

Each row trains two steps (the second has Adam's moments) in a process of its own on the CPU, which
reports its peak resident memory, and what it had before the first step. The count takes no memory
and about a second a row, at any size.

    python benchmarks/memory.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

from dal_auto.methods.method import Batch, GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.planning.configurations import CONFIGURATIONS, downsampling_for, spacing_of
from dal_auto.planning.memory import count_training, memory_of
from dal_auto.plans import Plans

#: (configuration whose grid decides the networks, share of their widths, voxels that are trained)
ROWS = [
    ("demo", 1.0, (40, 56, 40)),
    ("demo", 1.0, (48, 64, 48)),
    ("demo", 1.0, (64, 88, 64)),
    ("small", 0.25, (40, 56, 40)),
    ("small", 1.0, (40, 56, 40)),
    ("paper", 1.0, (40, 56, 40)),
]
QUICK = ROWS[:1]
#: Counted only: no machine here holds them.
ON_PAPER = [("small", 1.0), ("paper", 1.0), ("fullres", 1.0)]


def plans_for(name: str, width: float, shape: tuple[int, int, int] | None = None) -> Plans:
    """Plans with the networks of a configuration, on a grid of any shape."""
    configuration = CONFIGURATIONS[name].plan(name, width=width)
    settings = find_method("DAL").default_settings("robust", configuration)
    if shape is not None:
        spacing = spacing_of(shape, (160, 224, 160))
        configuration = configuration.model_copy(
            update={
                "input_shape": shape,
                "window": shape,
                "spacing_mm": spacing,
                "downsampling": downsampling_for(spacing),
            }
        )
    return Plans.parse(
        {
            "training_set": "none",
            "sequences": ["T1", "T2"],
            "configuration": configuration.model_dump(mode="json"),
            "method": {"settings": settings.model_dump(mode="json")},
        }
    )


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def train(plans: Plans) -> dict[str, float]:
    """Two steps as the trainer takes them; peak memory before and after."""
    import dal_auto.training.run  # noqa: F401 (a training process has all of it in memory)

    torch.set_num_threads(2)
    method = find_method("DAL")(plans)
    assert isinstance(method, GradientMethod)
    optimiser = torch.optim.Adam(method.network.parameters())
    subjects, size = plans.configuration.batch_subjects, plans.configuration.input_shape
    images = torch.rand(subjects, len(plans.sequences), *size)
    whole = torch.ones(subjects, len(plans.sequences), dtype=torch.bool)
    batch = Batch(images, torch.ones(subjects, 1, *size), whole)
    before, start = peak_gb(), time.perf_counter()
    for _ in range(2):
        loss = method.training_step(batch, 10**9)["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        del loss
    return {"before": before, "peak": peak_gb(), "seconds": (time.perf_counter() - start) / 2}


def measured(row: tuple[str, float, tuple[int, int, int]]) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", json.dumps(row)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the demo's size only")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, width, shape = json.loads(options.measure)
        print(json.dumps(train(plans_for(name, width, tuple(shape)))))
        return

    print(
        "networks of   width  voxels       counted  step took  of counted  needed  process  of it"
    )
    rows: list[dict[str, Any]] = []
    for name, width, shape in QUICK if options.quick else ROWS:
        plans = plans_for(name, width, shape)
        counted = count_training(plans, amp=False)[1] / 1e9
        memory = memory_of(plans.override({"training.amp": False}, "benchmark"), "cpu")
        assert memory is not None
        found = measured((name, width, shape))
        took = found["peak"] - found["before"]
        rows.append(
            {
                "networks": name,
                "width": width,
                "shape": shape,
                "counted_gb": round(counted, 3),
                "step_gb": round(took, 3),
                "step_ratio": round(took / counted, 3),
                "needed_gb": round(memory.training_gb, 3),
                "process_gb": round(found["peak"], 3),
                "ratio": round(found["peak"] / memory.training_gb, 3),
            }
        )
        r = rows[-1]
        print(
            f"{name:<12} {width:>6}  {'×'.join(map(str, shape)):<11} {counted:>5.2f} GB "
            f"{took:>7.2f} GB {r['step_ratio']:>11.2f} {r['needed_gb']:>7.2f} "
            f"{r['process_gb']:>8.2f} {r['ratio']:>6.2f}",
            flush=True,
        )
    print("\ncounted only, GB with the allowance to train:  CPU, float32   CUDA, mixed precision")
    on_paper = {}
    for name, width in ON_PAPER:
        plans = plans_for(name, width)
        cpu, cuda = (memory_of(plans, kind) for kind in ("cpu", "cuda"))
        assert cpu is not None and cuda is not None
        on_paper[name] = {"cpu": round(cpu.training_gb, 1), "cuda": round(cuda.training_gb, 1)}
        print(f"{name:<46} {cpu.training_gb:>12.1f} {cuda.training_gb:>23.1f}")
    ratios = [row["ratio"] for row in rows]
    print(
        json.dumps(
            {
                "benchmark": "memory",
                "ratio": max(ratios),
                "least_ratio": min(ratios),
                "rows": rows,
                "on_paper_gb": on_paper,
            }
        )
    )


if __name__ == "__main__":
    main()
