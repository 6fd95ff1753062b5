"""Preprocessing: seconds per case and accuracy, ours beside a plain script and brainles.

Progress and tables, then as the last line one JSON object; README.md beside this file says what
each figure means.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from deepbet.bet import BrainExtraction
from preprocessing_parts import brainles, report
from preprocessing_parts.accuracy import Accuracy, atlas_retest, known_transform, real_transform
from preprocessing_parts.cases import Case, head_sources, real_cases, simulated_case, test_data
from preprocessing_parts.heads import draw_subject
from preprocessing_parts.seconds import (
    STRIP,
    WHOLE,
    floor_seconds,
    load_seconds,
    run_ours,
    run_plain,
)

from dal_auto.case import StandardCase
from dal_auto.images import read_image, write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.registration.backends import backend_settings

#: T1 of 1 mm with T2 of 0.8 × 0.8 × 2 mm, and both half as coarse again.
COARSENESS = (1.0, 1.5)
POSES_PER_HEAD = 2
PEER_LIMIT_S = 600
STARTED = time.perf_counter()


def say(text: str) -> None:
    print(f"[{time.perf_counter() - STARTED:4.0f} s] {text}", flush=True)


class Bench:
    """One run of the benchmark in `folder`: cases timed so far, accuracy gathered so far."""

    def __init__(self, folder: Path, threads: int, at_most: int) -> None:
        self.folder, self.threads, self.at_most = folder, threads, at_most
        self.plan = PreprocessingPlan()
        self.cases: list[Case] = []  # those timed
        self.accuracy = Accuracy()
        self.floor: dict[str, float] = {}
        self.loads = {side: load_seconds(side) for side in ("ours", "plain")}
        self.model = BrainExtraction(no_gpu=True)
        self.rng = np.random.default_rng(0)
        self.atlas = folder / "atlas.nii.gz"
        write_image(self.atlas, load_atlas().image, load_atlas().grid)
        # Both sides load their tools and run deepbet once before the clock starts: TorchScript
        # compiles in its first run.
        run_ours(Case("first", {"T1": self.atlas}), STRIP, self.plan, folder / "ours", threads)
        self.model.run(str(self.atlas))
        say(f"{threads} threads, {backend_settings(self.plan)}, atlas {load_atlas().name}")

    def time_both(self, case: Case) -> StandardCase:
        """Ours, then the plain script; of simulated cases also what came out."""
        self.cases.append(case)
        case.ours, result = run_ours(case, WHOLE, self.plan, self.folder / "ours", self.threads)
        say(f"{case.name}: ours {case.ours['all']:.1f} s; now the plain script, minutes")
        own = self.folder / f"plain-{case.name}"
        script = run_plain(case, self.atlas, own, self.model, self.plan, self.threads)
        say(f"{case.name}: plain {case.plain['all']:.1f} s, {case.plain_same_n4:.1f} s by our N4")
        if case.true:
            images = {name: result.image(name) for name in result.sequences}
            to_native = dict(result.geometry.atlas_to_native)
            said = self.accuracy.add("ours", case, images, result.brain_mask, to_native)
            say(f"{case.name}: ours: {said}")
            images = {name: read_image(path)[0] for name, path in script.images.items()}
            brain = read_image(script.brain)[0] > 0.5
            said = self.accuracy.add("plain", case, images, brain, script.to_native)
            say(f"{case.name}: plain: {said}")
        return result

    def simulated_head(self, number: int, source: str) -> None:
        """Time a head as a case, then image it again in known poses."""
        subject = draw_subject(source, number, COARSENESS[number])
        case = simulated_case(f"simulated-{number + 1}", subject, self.rng, self.folder)
        grids = ", ".join(f"{name} {image.grid.shape}" for name, image in case.true.items())
        say(f"{case.name}: from {Path(source).name}, {grids}")
        if len(self.cases) < self.at_most:
            to_native = self.time_both(case).geometry.atlas_to_native["T1"]
            if not self.floor:
                own = self.folder / f"plain-{case.name}"
                self.floor = floor_seconds(
                    case, own, self.atlas, self.model, self.plan, self.threads
                )
            apart = atlas_retest(subject, case, to_native, self.folder, self.plan, self.threads)
            self.accuracy.retest_mm.append(apart)
            say(f"{case.name}: over the atlas and back, {apart:.3f} mm")
        for sequence, errors in (("T1", self.accuracy.t1_mm), ("T2", self.accuracy.t2_mm)):
            for _ in range(POSES_PER_HEAD):
                errors.append(
                    known_transform(sequence, subject, case, self.rng, self.plan, self.threads)
                )
                say(f"{case.name}: {sequence} → T1 off by {errors[-1]:.3f} mm")

    def real_scan(self, case: Case) -> None:
        """Move its T1 by a known transform, then time it as a case."""
        error = real_transform(case, self.rng, self.plan, self.threads)
        self.accuracy.t1_real_mm.append(error)
        say(f"{case.name}: moved T1 → T1 off by {error:.3f} mm")
        if len(self.cases) < self.at_most:
            self.time_both(case)

    def peer(self) -> str | None:
        """brainles on the cases timed; returns why not, if not."""
        tasks = []
        for case in self.cases:
            own = self.folder / f"brainles-{case.name}"
            own.mkdir()
            files = {sequence: str(path) for sequence, path in case.files.items()}
            tasks.append({**files, "folder": str(own)})
        try:
            answer = brainles.run_peer(
                tasks, self.atlas, self.folder, threads=self.threads, limit_s=PEER_LIMIT_S
            )
        except brainles.PeerMissing as error:
            return str(error)
        for case, result in zip(self.cases, answer["cases"], strict=True):
            case.peer = result
            say(f"{case.name}: brainles, its steps alone, {result['seconds']:.1f} s")
        return None


def measure(folder: Path, threads: int, at_most: int, with_peer: bool) -> dict[str, Any]:
    """Run everything; returns the content of the JSON line."""
    data = test_data()
    if data is None:
        say("no real scans (DAL_TEST_DATA names their folder): simulated heads only")
    bench = Bench(folder, threads, at_most)
    for number, source in enumerate(head_sources(data)):
        bench.simulated_head(number, source)
    # The last first: N4 at full resolution takes half as long on its grid as on the first one's.
    for case in reversed(real_cases(data)):
        bench.real_scan(case)
    missing = bench.peer() if with_peer else "not asked for"
    print()
    return {
        "benchmark": "preprocessing",
        **report.by_case(bench.cases, bench.loads, threads),
        **report.by_step(bench.cases, bench.floor),
        **report.beside_brainles(bench.cases, missing),
        **report.accuracy_table(bench.accuracy),
        "threads": threads,
        "cases": [case.name for case in bench.cases],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="of each tool, on every side")
    parser.add_argument("--cases", type=int, default=3, help="how many to time, at most")
    parser.add_argument("--without-brainles", action="store_true", help="its figure is null")
    options = parser.parse_args()
    if options.threads < 1 or options.cases < 1:
        parser.error("--threads and --cases are at least 1")
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    if hasattr(os, "sched_setaffinity"):
        # brainles takes all cores that it sees: every side gets as many as it has threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    torch.set_num_threads(options.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    with tempfile.TemporaryDirectory(prefix="dal_benchmark_") as folder:
        result = measure(Path(folder), options.threads, options.cases, not options.without_brainles)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
