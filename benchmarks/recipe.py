"""The steps of DAL's recipe, one taken away at a time: what each is worth, with several seeds.

Every run trains DAL on the drawn cohort (16 label maps, `demo`, T1, T2, FLAIR) for the same steps,
and is scored on ten simulated heads with lesions, of four other people. Average precision is on the
model's own grid, with a mean over 3 voxels in place of the filters of 1 mm. Rows that act at
prediction alone score the whole recipe's weights. Resumes: what is done is kept, a run at a time.

    make benchmark-recipe
    python benchmarks/recipe.py --steps 400 --seeds 0,1 [--rows "no corruption,…"]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods_parts.budget import SEQUENCES, planned
from methods_parts.child import in_a_child
from methods_parts.cohort import prepare
from scores import Restored, counts_of, pooled_percent, restored
from simulated_cohort import LESIONED, Home

from dal_auto.case import FloatArray
from dal_auto.cli import train as dal_train
from dal_auto.datasets.registry import DRAWN
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.dal.model import DAL
from dal_auto.preprocessing.run import case_records
from dal_auto.scoring.bootstrap import interval, resampled_average_precision
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.runs import run_of
from dal_auto.store.standard_cases import read_case

WHOLE = "the whole recipe"
_DAL = "method.settings."
#: Row → what it takes away, in training.
TRAINED: Mapping[str, Mapping[str, Any]] = {
    WHOLE: {},
    "statistics over the grid": {f"{_DAL}statistics": "grid"},
    "Canny": {f"{_DAL}edges": "canny"},
    "no teacher forcing": {f"{_DAL}teacher_forcing": 0.0},
    "no label loss": {f"{_DAL}weight_labels": 0.0},
    "no corruption": {"training.corruption": 0.0},
    "no wrong classes before the edges": {f"{_DAL}edge_noise": 0.0},
    "no tissue fractions of the atlas": {f"{_DAL}atlas_prior": False},
    "all combinations of i and j": {f"{_DAL}combinations": "all"},
}
#: The same of rows that act at prediction.
PREDICTED: Mapping[str, Mapping[str, Any]] = {
    "M of the image, not of the sequence": {f"{_DAL}modality_pull": 0.0},
    "grey values not fitted": {f"{_DAL}fitted_contrast": False},
    "both sides": {f"{_DAL}polarity": {}},
    "no tolerance on FLAIR": {f"{_DAL}tolerant": []},
    "Eq. 15 on T1 and T2": {f"{_DAL}difference_power": 1.0, f"{_DAL}neighbourhood_mm": 0.0},
}
_INTENSITY = "intensity, the better polarity"
#: One head in twenty held out; validated once, at the end.
_SAME = {"training.validation_fraction": 0.05, "training.validations": 1}
#: Counts of a row: sequence → one per case, in one order.
Counts = dict[str, list[ScoreCounts]]


def trained(title: str, seed: int, steps: int) -> DAL:
    """DAL without one step of the recipe; trained now, unless it was before."""
    changes = {**_SAME, "training.steps": steps, **TRAINED[title]}
    plans, overrides = planned(DRAWN, "DAL", changes)
    run = run_of(plans, overrides, seed)
    if not run.complete:
        sets = [
            w for key, value in changes.items() for w in ("--set", f"{key}={json.dumps(value)}")
        ]
        words = ["-d", DRAWN, "-c", "demo", "--device", "cpu", "--seed", str(seed)]
        words += ["--sequences", *SEQUENCES, *sets]
        print(f"\n$ dal_train {' '.join(words)}", file=sys.stderr, flush=True)
        in_a_child(partial(dal_train.main, words))
    method = load_checkpoint(run.checkpoint_path).build("cpu")
    assert isinstance(method, DAL)
    return method


def counted(images: Iterable[Restored], method: DAL) -> tuple[Counts, float]:
    """Counts of a method's score, and the mean error of normal voxels."""
    counts: Counts = {}
    errors = []
    for one in images:
        score = method.score(one.image, one.restored, one.brain, one.sequence)
        counts.setdefault(one.sequence, []).append(counts_of(score, one))
        normal = (one.brain > 0) & (one.lesion == 0)
        errors.append(float((one.image - one.restored).abs()[normal].mean()))
    return counts, float(np.mean(errors))


def intensity(images: Iterable[Restored]) -> Counts:
    """Of each sequence the polarity that finds more."""
    bright: Counts = {}
    dark: Counts = {}
    for one in images:
        bright.setdefault(one.sequence, []).append(counts_of(one.image, one))
        dark.setdefault(one.sequence, []).append(counts_of((1 - one.image) * one.brain, one))
    return {name: max(bright[name], dark[name], key=pooled_percent) for name in bright}


def _resampled(cases: Sequence[ScoreCounts]) -> FloatArray:
    names = [str(number) for number in range(len(cases))]
    return 100 * resampled_average_precision(CaseCounts.pack(cases), names)


def line(title: str, counts: Counts, error: float | None, whole: Counts | None) -> dict[str, Any]:
    """A row's figures: AP in %, and the paired 95 % interval of what it has less or more."""
    row: dict[str, Any] = {"row": title, "error": error}
    for name, cases in counts.items():
        row[name] = round(pooled_percent(cases), 1)
        if whole is not None:
            low, high = interval(_resampled(cases) - _resampled(whole[name]))
            row[f"{name} beside the whole"] = [round(low, 1), round(high, 1)]
    return row


def rows_of(seed: int, steps: int, titles: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a seed."""
    cases = [read_case(record) for record in case_records(LESIONED)]
    found = []
    whole: Counts | None = None
    for title in (WHOLE, *(name for name in titles if name in TRAINED and name != WHOLE)):
        method = trained(title, seed, steps)
        images = [image for case in cases for image in restored(case, method)]
        counts, error = counted(images, method)
        found.append(line(title, counts, error, whole))
        if title != WHOLE:
            continue
        whole = counts
        found.append(line(_INTENSITY, intensity(images), None, whole))
        for name, changes in PREDICTED.items():
            if name in titles:
                other = DAL(method.plans.override(changes, "benchmark"))
                other.load_tensors(method.tensors())
                again = [image for case in cases for image in restored(case, other)]
                found.append(line(name, *counted(again, other), whole))
    return found


def show(rows: Mapping[int, list[dict[str, Any]]]) -> None:
    """A line a row: each seed's AP, and whether all seeds' intervals lie on one side of 0."""
    print(f"\n| row | error | {' | '.join(SEQUENCES)} |\n|---|---|{'---|' * len(SEQUENCES)}")
    first = next(iter(rows.values()))
    for number, row in enumerate(first):
        several = [one[number] for one in rows.values()]
        errors = ", ".join("" if one["error"] is None else f"{one['error']:.3f}" for one in several)
        cells = []
        for name in SEQUENCES:
            values = ", ".join(f"{one[name]:.1f}" for one in several)
            bounds = [one.get(f"{name} beside the whole") for one in several]
            below = all(b is not None and b[1] < 0 for b in bounds)
            above = all(b is not None and b[0] > 0 for b in bounds)
            cells.append(values + (" **below**" if below else " **above**" if above else ""))
        print(f"| {row['row']} | {errors} | {' | '.join(cells)} |")


def main() -> None:
    options = _options()
    os.environ |= {"DAL_HOME": str(options.home)}
    prepare(Home(options.home), options.cases, options.heads)
    torch.set_num_threads(1)
    titles = options.rows.split(",") if options.rows else [*TRAINED, *PREDICTED]
    unknown = set(titles) - {*TRAINED, *PREDICTED}
    if unknown:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}")
    rows = {}
    for seed in map(int, options.seeds.split(",")):
        rows[seed] = rows_of(seed, options.steps, titles)
        write_json(options.home / "recipe" / f"{options.steps}_{seed}.json", rows[seed])
    show(rows)
    print(json.dumps({"benchmark": "recipe", "steps": options.steps, "rows": rows}))


def _options() -> argparse.Namespace:
    cache = Path(__file__).parent / ".cache"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=400, help="of training (default: 400)")
    parser.add_argument("--seeds", default="0,1", help="with commas (default: 0,1)")
    parser.add_argument("--rows", help="some of them, with commas (default: all)")
    parser.add_argument("--heads", type=int, default=10, help="simulated ones (default: 10)")
    parser.add_argument("--home", type=Path, default=cache / "methods", help="DAL_HOME of the runs")
    parser.add_argument("--cases", type=Path, default=cache / "shipped", help="of the test cases")
    return parser.parse_args()


if __name__ == "__main__":
    main()
