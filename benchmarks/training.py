"""Training: images per second of a DAL step on a CPU, ours beside a plain implementation.

Ours and the plain step (`training_parts/plain.py`) take turns in one process, on the same batch and
from the same weights, at the demo's size, both without our recipe. Then, with it, as it is by
default: the floor, which is the step's convolutions alone, forward and backward; some steps from a
cohort on disk, for the share of loading; and a table of where the time goes. Last line: one JSON
object.

    python benchmarks/training.py [--threads 2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk
import torch
from torch import Tensor, nn
from training_parts.cohort import demo_plans, write_cohort
from training_parts.floor import floor_seconds, recorded
from training_parts.plain import itk_edges, plain_losses

from dal_auto.methods.method import Batch, GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.training.loading import batches
from dal_auto.training.malloc import keep_freed_memory
from dal_auto.training.optimisation import Optimiser

LATE = 10**6  # after every warm start
CASES = 6
PARTS = ("E_A", "E_M", "R_A", "R_E", "R_D")


def timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def new_method(*, recipe: bool) -> GradientMethod:
    torch.manual_seed(0)
    method = find_method("DAL")(demo_plans(recipe=recipe))
    assert isinstance(method, GradientMethod)
    return method


class Plain:
    """The plain step with an Adam of its own."""

    def __init__(self, batch: Batch) -> None:
        method = new_method(recipe=False)
        self.settings, self.batch = method.settings, batch
        self.network = copy.deepcopy(method.network).to(memory_format=torch.contiguous_format)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=1e-4)

    def loss(self, edges: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        found = edges or (lambda anatomy: itk_edges(anatomy, self.settings))
        return plain_losses(self.network, self.settings, self.batch, found)

    def step(self) -> None:
        self.adam.zero_grad()
        self.loss().backward()
        self.adam.step()


def check_same_loss(batch: Batch) -> tuple[float, float]:
    """Loss of ours and of the plain one with ours' edges in both, in double precision: fresh
    weights leave many voxels between two classes, and rounding would decide."""
    double = Batch(batch.images.double(), batch.brain_mask.double(), batch.present)
    method, other = new_method(recipe=False), Plain(double)
    for network in (method.network, other.network):
        network.double()
    with torch.no_grad():
        ours = float(method.training_step(double, LATE)["loss"])
        plain = float(other.loss(edges=method.network.edges))  # type: ignore[arg-type]
    if abs(ours - plain) > 1e-6 * abs(ours):
        raise SystemExit(f"the plain step is another one: its loss is {plain}, ours {ours}")
    return ours, plain


@contextmanager
def watched(method: GradientMethod) -> Iterator[dict[str, float]]:
    """Seconds of the forward pass by part, while this lasts."""
    seconds: dict[str, float] = defaultdict(float)
    started: dict[str, float] = {}
    hooks = []
    for name in PARTS:
        part: nn.Module = getattr(method.network, name)

        def before(module: nn.Module, inputs: object, name: str = name) -> None:
            started[name] = time.perf_counter()

        def after(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
            seconds[name] += time.perf_counter() - started[name]

        hooks += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    network = method.network
    edges = network.edges

    def timed_edges(volumes: Tensor) -> Tensor:
        start = time.perf_counter()
        found = edges(volumes)  # type: ignore[operator]
        seconds["Canny"] += time.perf_counter() - start
        return found

    network.edges = timed_edges  # type: ignore[assignment]
    try:
        yield seconds
    finally:
        del network.edges
        for hook in hooks:
            hook.remove()


def by_part(batch: Batch, rounds: int) -> dict[str, float]:
    """Median seconds of each part of a step of ours; the backward pass as a whole."""
    method = new_method(recipe=True)
    adam = torch.optim.Adam(method.network.parameters(), lr=1e-4)
    optimiser = Optimiser(method, "cpu")  # for its precision alone
    found: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds + 1):
        with watched(method) as seconds, optimiser.precision():
            start = time.perf_counter()
            loss = method.training_step(batch, LATE)["loss"]
            forward = time.perf_counter() - start
        adam.zero_grad(set_to_none=True)
        rows = dict(seconds)
        rows["losses and the rest"] = forward - sum(seconds.values())
        rows["backward"] = timed(loss.backward)
        rows["optimiser"] = timed(adam.step)
        if turn:
            for name, value in rows.items():
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def loading(rounds: int) -> tuple[float, float]:
    """Seconds a step waits for its batch, and seconds of a step with it."""
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder), demo_plans(), CASES)
        cohort.fill_cache()
        method = new_method(recipe=True)
        optimiser = Optimiser(method, "cpu")
        stream = batches(cohort, 0, 0, "cpu")
        waited, took = [], []
        for step in range(rounds + 1):
            start = time.perf_counter()
            batch = next(stream).to("cpu")
            waited.append(time.perf_counter() - start)
            optimiser.step([batch], LATE + step, 0)
            took.append(time.perf_counter() - start)
        stream.close()
    return statistics.median(waited[1:]), statistics.median(took[1:])


def sample_batch() -> Batch:
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder), demo_plans(), 2)
        return cohort.batch([0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    keep_freed_memory()  # as the trainer does; the plain step and the floor gain as well

    batch = sample_batch()
    images = batch.images.shape[0] * batch.images.shape[1]
    print(f"demo: {images} images of {tuple(batch.images.shape[2:])}, {options.threads} threads")
    print("loss with the same edges: ours {:.6f}, plain {:.6f}".format(*check_same_loss(batch)))

    method = new_method(recipe=False)
    optimiser, plain = Optimiser(method, "cpu"), Plain(batch)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(options.rounds + 1):
        for name, step in (
            ("ours", lambda turn=turn: optimiser.step([batch], LATE + turn, 0)),
            ("plain", plain.step),
        ):
            took = timed(step)
            if turn:
                seconds[name].append(took)
    ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "plain"))
    print(f"{'':8}{'s/step':>8}{'images/s':>10}")
    for name, value in (("ours", ours), ("plain", theirs)):
        print(f"{name:8}{value:8.2f}{images / value:10.2f}")

    whole = new_method(recipe=True)
    optimiser = Optimiser(whole, "cpu")
    steps = [timed(lambda turn=turn: optimiser.step([batch], LATE + turn, 0))  # type: ignore[misc]
             for turn in range(options.rounds + 1)]  # fmt: skip
    step_s = statistics.median(steps[1:])
    with optimiser.precision():
        calls = recorded(whole.network, lambda: whole.training_step(batch, LATE))
    floor, giga = floor_seconds(calls, options.rounds)
    print(
        f"with the recipe: {step_s:.2f} s a step; its convolutions alone: {floor:.2f} s, "
        f"{sum(calls.values())} calls, {2 * giga / floor:.0f} GFLOP/s"
    )
    waits, with_loading = loading(options.rounds)
    parts = by_part(batch, options.rounds) | {"loading": waits}
    total = sum(parts.values())
    print("\npart of a step (networks: forward)   seconds   share")
    for name, value in parts.items():
        print(f"{name:34}{value:10.3f}{value / total:8.1%}")
    print(
        json.dumps(
            {
                "benchmark": "training",
                "ratio": round(theirs / ours, 2),
                "floor_share": round(floor / step_s, 3),
                "loading_share": round(waits / with_loading, 4),
                "images_per_s": round(images / ours, 3),
                "plain_images_per_s": round(images / theirs, 3),
                "floor_s": round(floor, 3),
                "step_s": round(step_s, 3),
                "plain_step_s": round(theirs, 3),
                "step_without_recipe_s": round(ours, 3),
                "threads": options.threads,
            }
        )
    )


if __name__ == "__main__":
    main()
