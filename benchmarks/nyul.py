"""Histogram matching: what large lesions do to it, and how much each piece of the map stretches.

Healthy subjects are simulated (the installed atlases' heads, with skull) and go through the real
chain. Landmarks are learned from all but one; into that one a lesion of known volume is pasted, and
its percentiles are taken again, as they would be of a patient's scan. Reported, in the units of the
matched images (0 to 1): how far that moves the healthy tissue, and how much of the lesion's
contrast is left. And what it costs healthy heads if percentiles are of tissue like the atlas's
alone; with --cases that is all, on preprocessed healthy cases. One process, no peer.

    python benchmarks/nyul.py [--subjects 6] [--threads 1] [--cases PREPROCESSED/Simulated/cases]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
from nyul_parts import healthy

from dal_auto.case import BoolArray, FloatArray, RawCase, StandardCase
from dal_auto.datasets.simulate import cohort_tasks, describe_cohort, simulate_subject
from dal_auto.plans import IntensityPlan, PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.histogram_matching import (
    brain_percentiles,
    learn_landmarks,
    match_histogram,
)
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.standard_cases import read_case, read_records
from dal_auto.workers.progress import Stopwatch

VOLUMES_ML = (0, 50, 100, 150, 200)
SEQUENCES = ("T1", "T2")
PLAN = PreprocessingPlan()
RANGE = IntensityPlan().standard_range
#: As the simulator paints a tumour: darker on T1; on T2 most of the way to bright fluid.
T1_FACTOR, T2_TOWARDS = 0.7, 0.9
#: From the middle of the brain to one side, in voxels: deep white matter.
CENTRE_OFFSET = (25, 15, 12)


def healthy_cases(folder: Path, subjects: int, threads: int) -> list[StandardCase]:
    """Simulated, then through the whole chain."""
    steps = CaseSteps(bias_correct=True, coregister=True, register_to_atlas=True, strip=True)
    tasks = cohort_tasks(folder, n_healthy=subjects, n_lesioned=0, seed=0, spacing_mm=2.0)
    describe_cohort(tasks)
    cases = []
    for task in tasks:
        simulate_subject(task)
        files = task.images()
        raw = RawCase(task.dataset, task.subject, task.subject, {s: files[s] for s in SEQUENCES})
        case = standardise(raw, steps, PLAN, load_atlas(), threads=threads, watch=Stopwatch())
        print(f"{task.subject}: {'; '.join(case.steps[:1])}", flush=True)
        cases.append(case)
    return cases


def lesion(brain: BoolArray, volume_ml: float) -> BoolArray:
    """The `volume_ml` of the brain that lie nearest to one place."""
    middle = np.argwhere(brain).mean(axis=0) + CENTRE_OFFSET
    index = np.ogrid[tuple(slice(size) for size in brain.shape)]
    squared = sum((i - m) ** 2 for i, m in zip(index, middle, strict=True))
    squared = np.where(brain, squared, np.inf)
    count = int(volume_ml * 1000)
    if count == 0:
        return np.zeros_like(brain)
    return squared <= np.partition(squared.ravel(), count - 1)[count - 1]


def pasted(image: FloatArray, brain: BoolArray, where: BoolArray, sequence: str) -> FloatArray:
    """`image` with a lesion."""
    if sequence == "T1":
        return np.where(where, image * T1_FACTOR, image)
    fluid = float(np.percentile(image[brain], 98))
    return np.where(where, image + T2_TOWARDS * np.maximum(0.88 * fluid - image, 0), image)


def effect(case: StandardCase, landmarks: tuple[float, ...], sequence: str, ml: float) -> dict:
    """What a lesion of `ml` does to the matching of one image."""
    image, brain = case.image(sequence), case.brain_mask
    where = lesion(brain, ml)
    ill = pasted(image, brain, where, sequence)
    own, moved = case.percentiles[sequence], brain_percentiles(ill, brain, PLAN.percentiles)
    healthy = brain & ~where
    by_own, by_moved = (match_histogram(ill, brain, p, landmarks) for p in (own, moved))
    shift = by_moved[healthy] - by_own[healthy]
    contrast = [
        float(np.median(m[where]) - np.median(m[healthy])) if ml else 1.0
        for m in (by_own, by_moved)
    ]
    return {
        "mean_shift": float(np.abs(shift).mean()),
        "shift_99": float(np.percentile(np.abs(shift), 99)),
        "median_shift": float(np.median(shift)),
        "contrast_kept": contrast[1] / contrast[0],
    }


def stretches(case: StandardCase, landmarks: tuple[float, ...], sequence: str) -> np.ndarray:
    """Slope of each piece of a case's map over the slope of the straight map, end to end."""
    places, goals = np.asarray(case.percentiles[sequence]), np.asarray(landmarks)
    whole = (goals[-1] - goals[0]) / (places[-1] - places[0])
    return np.diff(goals) / np.diff(places) / whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", type=Path, help="a folder of preprocessed healthy cases")
    parser.add_argument("--every", type=int, default=1, help="take every n-th of --cases")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if options.cases:
        records = read_records(options.cases)[:: options.every]
        print(json.dumps({"benchmark": "nyul"} | healthy.report([*map(read_case, records)])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        cases = healthy_cases(Path(folder), options.subjects, options.threads)

    figures: dict[str, dict] = {}
    for sequence in SEQUENCES:
        rows: dict[int, list[dict]] = {ml: [] for ml in VOLUMES_ML}
        slopes = []
        for case in cases:
            others = [other.percentiles[sequence] for other in cases if other is not case]
            landmarks = learn_landmarks(others, RANGE)
            slopes.append(stretches(case, landmarks, sequence))
            for ml in VOLUMES_ML:
                rows[ml].append(effect(case, landmarks, sequence, ml))
        print(f"\n{sequence}: matched intensities of healthy tissue, mean of {len(cases)} cases")
        print(f"{'lesion ml':>10}{'mean |shift|':>14}{'99 %':>8}{'median':>9}{'contrast kept':>15}")
        figures[sequence] = {}
        for ml, found in rows.items():
            mean = {name: round(float(np.mean([f[name] for f in found])), 4) for name in found[0]}
            figures[sequence][str(ml)] = mean
            print(
                f"{ml:10}{mean['mean_shift']:14.3f}{mean['shift_99']:8.3f}"
                f"{mean['median_shift']:9.3f}{mean['contrast_kept']:15.2f}"
            )
        print("pieces, slope over the straight map's (mean, least, most over cases):")
        names = [
            f"{a:g}–{b:g} %" for a, b in zip(PLAN.percentiles, PLAN.percentiles[1:], strict=False)
        ]
        table = np.array(slopes)
        for name, column in zip(names, table.T, strict=True):
            print(f"  {name:>10}{column.mean():8.2f}{column.min():8.2f}{column.max():8.2f}")
        figures[sequence]["stretch"] = {
            name: [round(float(v), 2) for v in (column.min(), column.max())]
            for name, column in zip(names, table.T, strict=True)
        }
    figures["healthy"] = healthy.report(cases)
    print(json.dumps({"benchmark": "nyul", "subjects": len(cases), **figures}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
