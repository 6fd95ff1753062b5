"""DAL with one thing taken away at a time: the steps of our recipe, and the paper's Tables 5 to 7.

Every run trains DAL on the drawn cohort (16 label maps, `demo`) for the same steps, and is scored
on ten simulated heads with lesions, of four other people, and on the real cases at hand, for a
look. Average precision is on the model's own grid, with a mean over 3 voxels in place of the
filters of 1 mm. Rows that act at prediction alone take the whole recipe's weights. Beside them
stand the mean brain and the plain intensity. What is done is kept, a run and a row at a time: run
it again to go on. Several calls can run side by side, each with seeds or rows of its own.

    make benchmark-recipe
    python benchmarks/recipe.py [--seeds 0,1] [--sequences T1,T2,FLAIR] [--rows "no corruption,…"]
                                [--write PAGE]
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
from home import LESIONED, Home
from markers import write_tables
from methods_parts.budget import planned
from methods_parts.child import in_a_child
from methods_parts.cohort import GROUPS, SIMULATED, prepare
from recipe_parts.page import interval_table, table
from recipe_parts.rows import BY_TITLE, INTENSITY, MEAN_BRAIN, SCORED, TRAINED, WHOLE, Row
from scores import Restored, counts_of, restored
from shipped_parts.rows import pooled_percent

from dal_auto.case import FloatArray, StandardCase
from dal_auto.cli import train as dal_train
from dal_auto.datasets.drawn import DRAWN
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Method
from dal_auto.preprocessing.stored import case_records
from dal_auto.scoring.bootstrap import interval, resampled_average_precision
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.runs import run_of
from dal_auto.store.standard_cases import read_case

#: One head in twenty held out; validated once, at the end.
_SAME = {"training.validation_fraction": 0.05, "training.validations": 1}
#: All real cases at hand: for a look, nothing is chosen by them.
_REAL = [name for group, names in GROUPS.items() if group != SIMULATED for name in names]
#: Cases with less than so much lesion are pooled by themselves, too.
_SMALL_ML = 10.0
#: Counts of a row: sequence → one per case, in one order.
Counts = dict[str, list[ScoreCounts]]


def trained(name: str, changes: Mapping[str, Any], seed: int, sequences: Sequence[str]) -> Method:
    """A method with these changes of the plans; trained now, unless it was before."""
    changes = _SAME | dict(changes)
    plans, overrides = planned(DRAWN, name, changes, sequences)
    run = run_of(plans, overrides, seed)
    if not run.complete:
        sets = [
            w for key, value in changes.items() for w in ("--set", f"{key}={json.dumps(value)}")
        ]
        words = ["-d", DRAWN, "-c", "demo", "-m", name, "--device", "cpu", "--seed", str(seed)]
        words += ["--sequences", *sequences, *sets]
        print(f"\n$ dal_train {' '.join(words)}", file=sys.stderr, flush=True)
        in_a_child(partial(dal_train.main, words))
    return load_checkpoint(run.checkpoint_path).build("cpu")


class Scored:
    """The simulated test heads, and what of them is found."""

    def __init__(self, cases: Sequence[StandardCase]) -> None:
        self.cases = cases
        self.small = [_lesion_ml(case) < _SMALL_ML for case in cases]

    def line(self, title: str, counts: Counts, error: float | None, whole: Counts) -> dict:
        """A row's figures: AP in % of all cases and of the small ones, and the paired 95 % interval
        of what it has more than the whole recipe."""
        row: dict[str, Any] = {"row": title, "error": error, "AP": {}, "small": {}, "more": {}}
        for name, cases in counts.items():
            small = [one for one, is_small in zip(cases, self.small, strict=True) if is_small]
            row["AP"][name] = round(pooled_percent(cases), 2)
            row["small"][name] = round(pooled_percent(small), 2)
            if counts is not whole:
                low, high = interval(_resampled(cases) - _resampled(whole[name]))
                row["more"][name] = [round(low, 2), round(high, 2)]
        return row


def restored_of(cases: Iterable[StandardCase], method: Method) -> list[Restored]:
    return [image for case in cases for image in restored(case, method)]


def counted(images: Sequence[Restored], method: DAL) -> tuple[Counts, float]:
    """Counts of DAL's score, and the mean error of normal voxels."""
    counts: Counts = {}
    for one in images:
        score = method.score(one.image, one.restored, one.brain, one.sequence)
        counts.setdefault(one.sequence, []).append(counts_of(score, one))
    return counts, _error(images)


def difference(images: Sequence[Restored]) -> tuple[Counts, float]:
    """The same of |x − x_r|."""
    counts: Counts = {}
    for one in images:
        score = (one.image - one.restored).abs() * one.brain
        counts.setdefault(one.sequence, []).append(counts_of(score, one))
    return counts, _error(images)


def intensity(images: Sequence[Restored]) -> Counts:
    """Of each sequence the polarity that finds more."""
    bright: Counts = {}
    dark: Counts = {}
    for one in images:
        bright.setdefault(one.sequence, []).append(counts_of(one.image, one))
        dark.setdefault(one.sequence, []).append(counts_of((1 - one.image) * one.brain, one))
    return {name: max(bright[name], dark[name], key=pooled_percent) for name in bright}


def _error(images: Sequence[Restored]) -> float:
    normal = [(one, (one.brain > 0) & (one.lesion == 0)) for one in images]
    errors = [float((one.image - one.restored).abs()[inside].mean()) for one, inside in normal]
    return round(float(np.mean(errors)), 4)


def _lesion_ml(case: StandardCase) -> float:
    assert case.lesion_mask is not None
    return float(case.lesion_mask.sum()) / 1000  # the standard grid has voxels of 1 mm


def _resampled(cases: Sequence[ScoreCounts]) -> FloatArray:
    names = [str(number) for number in range(len(cases))]
    return 100 * resampled_average_precision(CaseCounts.pack(cases), names)


def rows_of(
    seed: int, steps: int, sequences: Sequence[str], rows: Sequence[Row], kept: Path
) -> dict[str, dict[str, Any]]:
    """Title → figures of a seed's rows; those that `kept` holds are taken from there."""
    cases, real = _cases([LESIONED]), _cases(_REAL)
    scored, found = Scored(cases), _read(kept)
    same = {"training.steps": steps}
    model = trained("DAL", same, seed, sequences)
    assert isinstance(model, DAL)
    images, seen = restored_of(cases, model), restored_of(real, model)
    whole, error = counted(images, model)

    def keep(title: str, counts: Counts, error: float | None, on_real: Counts) -> None:
        found.update(_read(kept))  # another call may have added rows
        found[title] = scored.line(title, counts, error, whole)
        found[title]["real"] = {
            name: round(float(np.mean([pooled_percent([one]) for one in several])), 2)
            for name, several in on_real.items()
        }
        write_json(kept, found)
        print(f"seed {seed}: {json.dumps(found[title])}", file=sys.stderr, flush=True)

    if not _whole(found, WHOLE.title):
        keep(WHOLE.title, whole, error, counted(seen, model)[0])
        keep(INTENSITY, intensity(images), None, intensity(seen))
        brain = trained("mean-brain", {}, seed, sequences)
        on_real = difference(restored_of(real, brain))[0]
        keep(MEAN_BRAIN, *difference(restored_of(cases, brain)), on_real)
    for row in rows:
        if _whole(_read(kept), row.title):
            continue
        if row in TRAINED:
            longer = {"training.steps": round(steps * row.steps)}
            other = trained("DAL", longer | dict(row.changes), seed, sequences)
            assert isinstance(other, DAL)
        else:
            other = DAL(model.plans.override(row.changes, "benchmark"))
            needed = other.tensors()  # less, where M's means are not remembered
            other.load_tensors({n: t for n, t in model.tensors().items() if n in needed})
        two = (images, seen) if row in SCORED else (restored_of(c, other) for c in (cases, real))
        on_heads, on_scans = (counted(volumes, other) for volumes in two)
        keep(row.title, *on_heads, on_scans[0])
    return found


def _cases(datasets: Iterable[str]) -> list[StandardCase]:
    return [read_case(record) for dataset in datasets for record in case_records(dataset)]


def _whole(rows: Mapping[str, Mapping[str, Any]], title: str) -> bool:
    return "real" in rows.get(title, {})


def _read(kept: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads(kept.read_text("utf-8"))) if kept.is_file() else {}


def main() -> None:
    options = _options()
    os.environ |= {"DAL_HOME": str(options.home)}
    prepare(Home(options.home), options.cases, options.heads)
    torch.set_num_threads(1)
    titles = options.rows.split(",") if options.rows else list(BY_TITLE)
    if unknown := set(titles) - set(BY_TITLE):
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}")
    sequences = options.sequences.split(",")
    rows = [row for row in map(BY_TITLE.__getitem__, titles) if row is not WHOLE]
    rows = [row for row in rows if row.needs in (None, *sequences)]
    folder = options.home / "recipe" / f"{options.steps}_{'_'.join(sequences)}"
    seeds = [int(seed) for seed in options.seeds.split(",")]
    found = {
        seed: rows_of(seed, options.steps, sequences, rows, folder / f"{seed}.json")
        for seed in seeds
    }
    more = "AP more than the whole recipe, 95 % interval of each seed:"
    lines = f"{table(found, sequences)}\n\n{more}\n\n{interval_table(found, sequences)}"
    print(lines)
    if options.write:
        write_tables(options.write, f"recipe.py --sequences {options.sequences}", lines)
    print(json.dumps({"benchmark": "recipe", "steps": options.steps, "rows": found}))


def _options() -> argparse.Namespace:
    cache = Path(__file__).parent / ".cache"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=250, help="of training (default: 250)")
    parser.add_argument("--seeds", default="0,1", help="with commas (default: 0,1)")
    parser.add_argument("--sequences", default="T1,T2", help="with commas (default: T1,T2)")
    parser.add_argument("--rows", help="some of them, with commas (default: all)")
    parser.add_argument("--heads", type=int, default=10, help="simulated ones (default: 10)")
    parser.add_argument("--home", type=Path, default=cache / "methods", help="DAL_HOME of the runs")
    parser.add_argument("--cases", type=Path, default=cache / "shipped", help="of the test cases")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    main()
