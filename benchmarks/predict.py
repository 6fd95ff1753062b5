"""dal_predict from raw scans to written maps, beside the floor: the sum of its tools alone.

Progress and a table, then as the last line one JSON object; README.md beside this file says what
each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from predict_parts.command import command
from predict_parts.floor import Tools, floor_seconds
from predict_parts.model import make_run
from preprocessing_parts.cases import head_sources, real_cases, simulated_case, test_data
from preprocessing_parts.heads import draw_subject

_CACHE = Path(__file__).parent / ".cache"
#: Of the made run: more steps cost time and change no figure here.
_STEPS = 4
#: What a command loads before it works: the modules of its two processes, and deepbet's networks.
_LOADING = (
    "import dal_auto.cli.predict",
    "import dal_auto.inference.run, picsl_greedy; from deepbet.bet import BrainExtraction as B; "
    "B(no_gpu=True)",
)
STARTED = time.perf_counter()


def say(text: str) -> None:
    print(f"[{time.perf_counter() - STARTED:4.0f} s] {text}", flush=True)


def gather_cases(folder: Path, at_most: int) -> dict[str, dict[str, Path]]:
    """Case → "T1" and "T2", raw with skull: a simulated head, and real scans where there are."""
    data, rng = test_data(), np.random.default_rng(0)
    subject = draw_subject(head_sources(data)[0], 0, 1.0)
    cases = {"simulated": simulated_case("simulated", subject, rng, folder).files}
    for real in real_cases(data)[: at_most - 1]:
        name = real.name
        cases[name] = {s: folder / f"{name}_{s}.nii.gz" for s in real.files}
        for sequence, path in real.files.items():
            shutil.copyfile(path, cases[name][sequence])
    return cases


def run_command(scans: Path, output: Path, run: Path, threads: int) -> float:
    """Wall seconds of dal_predict, one process that prepares and one that predicts."""
    start = time.perf_counter()
    done = subprocess.run(
        [*command("dal_predict"), "-i", str(scans), "-o", str(output), "-r", str(run),
         "-np", "1", "--threads", str(threads), "--device", "cpu"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"dal_predict failed:\n{done.stderr}")
    return time.perf_counter() - start


def loading_seconds() -> float:
    """Wall seconds of what is loaded once a command, however many cases it predicts."""
    start = time.perf_counter()
    for code in _LOADING:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def measure(folder: Path, run: Path | None, threads: int, at_most: int) -> dict[str, Any]:
    """Run everything; returns the content of the JSON line."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"WARNING: the load is {load:.1f} before anything began; do not keep these seconds")
    if run is None:
        say("a run is trained for a few steps")
        run = make_run(folder / "home", "demo", _STEPS)
    scans = folder / "scans"
    scans.mkdir()
    cases = gather_cases(scans, at_most)
    say(f"dal_predict on {', '.join(cases)}")
    loading = loading_seconds()
    wall = run_command(scans, folder / "out", run, threads)
    tools = Tools.load(run, threads)
    ours, floor = {}, {}
    for name, files in cases.items():
        say(f"{name}: the tools alone")
        log = json.loads((folder / "out" / "logs" / f"{name}.json").read_text(encoding="utf-8"))
        ours[name] = log["seconds"]
        own = folder / f"floor-{name}"
        own.mkdir()
        floor[name] = floor_seconds(name, files, folder / "out", own, tools)
    print()
    _table(ours, floor)
    working = wall - loading
    floor_all = sum(sum(seconds.values()) for seconds in floor.values())
    print(
        f"{len(cases)} cases: {wall:.1f} s by the wall clock, {loading:.1f} s of them to load "
        f"Python and the tools; {working:.1f} s, {working / floor_all:.2f} times the floor's "
        f"{floor_all:.1f} s"
    )
    return {
        "benchmark": "predict",
        "ratio_to_floor": round(working / floor_all, 3),
        "ratio_with_loading": round(wall / floor_all, 3),
        "seconds": round(working / len(cases), 2),
        "floor_seconds": round(floor_all / len(cases), 2),
        "loading_seconds": round(loading, 2),
        "threads": threads,
        "load": round(load, 2),
        "cases": list(cases),
    }


def _table(ours: dict[str, dict[str, float]], floor: dict[str, dict[str, float]]) -> None:
    """Seconds by step: of each case from dal_predict's own log, then the floor's."""
    columns = [*ours.values(), *floor.values()]
    head = [f"{side}{name}" for side, one in (("", ours), ("floor ", floor)) for name in one]
    steps = dict.fromkeys(step for column in columns for step in column)
    rows = [[step, *(column.get(step) for column in columns)] for step in steps]
    rows.append(["all", *(sum(column.values()) for column in columns)])
    wide = max(map(len, steps))
    print(f"{'seconds by step':<{wide}}  " + "  ".join(head))
    for step, *values in rows:
        cells = ["" if value is None else f"{value:.2f}" for value in values]
        cells = [cell.rjust(len(title)) for cell, title in zip(cells, head, strict=True)]
        print(f"{step:<{wide}}  " + "  ".join(cells))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of each tool, on both sides")
    parser.add_argument("--cases", type=int, default=2, help="at most; the first is simulated")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="default: one is made")
    options = parser.parse_args()
    if options.threads < 1 or options.cases < 1:
        parser.error("--threads and --cases are at least 1")
    if hasattr(os, "sched_setaffinity"):  # also of the processes that are started
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    torch.set_num_threads(options.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="predict_", dir=_CACHE) as folder:
        result = measure(Path(folder), options.run, options.threads, options.cases)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
