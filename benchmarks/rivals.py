"""How far the shipped model is ahead of other methods, when all have the same filters at 1 mm.

The other methods are the trained runs of `benchmarks/methods.py`: of each method and seed the one
with the most steps. Their scores get the filters of the shipped model. Of a method's several maps
the one with the highest AP counts, chosen with the masks. Each run is scored once and kept.

    make benchmark-rivals
    python benchmarks/rivals.py [--runs HOME] [--methods NAME,…] [--real] [--write PAGE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from markers import write_tables
from methods_parts.found import Found
from methods_parts.page import LEADER, TRIVIAL, best, lead_table, precision_table
from shipped_parts.rows import parser, wanted_cases
from shipped_parts.scores import unfiltered

from dal_auto.case import StandardCase
from dal_auto.inference.model import load_model
from dal_auto.inference.predictor import filtered
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import GradientMethod, Method
from dal_auto.methods.registry import find_method
from dal_auto.scoring.bootstrap import resampled_average_precision
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.metrics import average_precision, best_mean_dice
from dal_auto.scoring.plan import ScoringPlan
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.model_files import choose_model
from dal_auto.store.runs import Run

Cases = Iterable[tuple[str, StandardCase]]


@torch.no_grad()
def score(method: Method, scoring: ScoringPlan, cases: Cases) -> list[dict]:
    """What every map of a method finds in every group and sequence.

    Parameters
    ----------
    scoring : the filters at 1 mm

    Returns
    -------
    list of dict
        arguments of `Found`, but for method and seed; `resampled` in place of `resample`
    """
    counts: dict[tuple[str, str, str], dict[str, ScoreCounts]] = defaultdict(dict)
    for group, case in cases:
        if case.lesion_mask is None:
            continue
        for sequence in (name for name in case.sequences if name in method.plans.sequences):
            found = unfiltered(method, case, sequence)
            for variant, plain in found.scores.items():
                map_ = filtered(plain, found.image, found.brain, scoring)
                one = ScoreCounts.from_volume(map_, case.lesion_mask)
                counts[group, sequence, variant][case.case_id] = one
    return [
        _found(*place, {name: by_case[name] for name in sorted(by_case)})
        for place, by_case in counts.items()
    ]


def _found(group: str, sequence: str, variant: str, by_case: dict[str, ScoreCounts]) -> dict:
    packed = CaseCounts.pack(iter(by_case.values()))
    # One case has no resamples, and no interval.
    resampled = resampled_average_precision(packed, list(by_case)) if len(by_case) > 1 else []
    return {
        "group": group,
        "sequence": sequence,
        "variant": variant,
        "cases": len(by_case),
        "precision": 100 * average_precision(packed.pooled()),
        "dice": 100 * best_mean_dice(packed)[0],
        "resampled": [float(v) for v in resampled],
    }


def longest(home: Path, methods: Iterable[str] | None) -> Iterator[Run]:
    """Of each method and seed the run with the most steps, but those of DAL itself.

    The trivial methods are the same with every seed, and have one run.
    """
    chosen: dict[tuple[str, int], tuple[int, Run]] = {}
    for folder in sorted((home / "results").glob("*/*/seed_*")):
        run = Run(folder)
        again = run.method in TRIVIAL and run.seed > 0
        if run.method == LEADER or again or not run.complete:
            continue
        if methods is None or run.method in methods:
            steps, key = steps_of(run), (run.method, run.seed)
            if key not in chosen or steps > chosen[key][0]:
                chosen[key] = steps, run
    yield from (run for _, run in chosen.values())


def steps_of(run: Run) -> int:
    """Training steps of a run; 0 where its method is fitted in one pass."""
    if not issubclass(find_method(run.method), GradientMethod):
        return 0
    return load_checkpoint(run.checkpoint_path).plans.training.steps


def _as_found(kept: list[dict], method: str, seed: int) -> Iterator[Found]:
    for one in kept:
        resampled = np.array(one["resampled"])
        others = {name: value for name, value in one.items() if name != "resampled"}
        yield Found(method=method, seed=seed, resample=partial(np.asarray, resampled), **others)


def main() -> None:
    options = _options()
    model = choose_model(name=options.model)
    ours = load_model(model, device="cpu").method
    torch.set_num_threads(1)
    what = "real" if options.real else "simulated"
    folder = options.runs / "rivals" / model.checkpoint_sha256()[:12]

    def kept(name: str, sha256: str, method: Method) -> list[dict]:
        record = folder / f"{name}_{sha256[:12]}_{what}.json"
        if not record.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(record, score(method, ours.plans.scoring, cases))
        return json.loads(record.read_text("utf-8"))

    methods = options.methods.split(",") if options.methods else None
    runs = list(longest(options.runs, methods))
    if not runs:
        raise SystemExit(f"{options.runs} holds no such run: `make benchmark-methods` trains them")
    cases = list(wanted_cases(options))
    leader = kept(LEADER, model.checkpoint_sha256(), ours)
    found: list[Found] = []
    for run in runs:
        print(f"{run.method}, seed {run.seed}", file=sys.stderr, flush=True)
        method = load_checkpoint(run.checkpoint_path).build("cpu")
        steps = steps_of(run)
        name = f"{run.method}, {steps:,} steps" if steps else run.method
        found += _as_found(kept(run.method, run.checkpoint_sha256(), method), name, run.seed)
    # There is one shipped model: every seed of the others is put beside it.
    ones, several = (
        best([*found, *(one for seed in seeds for one in _as_found(leader, LEADER, seed))])
        for seeds in ([0], sorted({one.seed for one in found}))
    )
    tables = (
        f"#### AP in %, {what} cases, the same filters\n\n{precision_table(ones)}\n"
        f"#### {LEADER}'s AP above each, {what} cases, 95 % interval\n\n{lead_table(several)}"
    )
    print(tables)
    if options.write:
        write_tables(options.write, f"rivals.py{' --real' if options.real else ''}", tables)


def _options() -> argparse.Namespace:
    options = parser(__doc__, rows=False)
    options.add_argument(
        "--runs", type=Path, default=Path(__file__).parent / ".cache" / "methods",
        help="home of the benchmark of methods",
    )  # fmt: skip
    options.add_argument("--methods", help="some of them, with commas (default: all there)")
    options.add_argument("--write", type=Path, help="page whose tables are replaced")
    return options.parse_args()


if __name__ == "__main__":
    main()
