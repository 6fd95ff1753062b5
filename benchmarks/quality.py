"""Does DAL find more than the trivial baselines? AP on simulated lesions, three seeds.

Trains DAL, raw intensity and the mean healthy brain on a simulated healthy cohort in the `demo`
configuration, and scores them on lesioned heads, all with the same post-processing; of raw
intensity's two polarities the better one counts. With `--real` the same checkpoints are scored on
the real cases of DAL_TEST_DATA: reported, never chosen on.

    python benchmarks/quality.py [--seeds 0,1,2] [--home FOLDER] [--real]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import pandas as pd
from real_cases import add_real_cases
from simulated_cohort import LESIONED, Home, add_home

METHODS = {"dal": "DAL", "raw": "raw-intensity", "mean": "mean-brain"}


def by_seed(results: pd.DataFrame, dataset: str) -> dict[str, dict[str, list[float]]]:
    """sequence → method → AP in percent, by seed."""
    found: dict[str, dict[str, list[float]]] = {}
    rows = results[results["dataset"] == dataset].sort_values("seed")
    for (sequence, method), group in rows.groupby(["sequence", rows["method"].str.split().str[0]]):
        key = next(key for key, name in METHODS.items() if name == method)
        found.setdefault(str(sequence), {})[key] = [round(ap, 2) for ap in group["AP"]]
    return found


def show(results: pd.DataFrame, dataset: str) -> None:
    print(f"\n{dataset}: AP and its 95 % interval, DSC, in percent")
    for row in results[results["dataset"] == dataset].to_dict("records"):
        print(
            f"  {row['sequence']}  {row['method']:24} seed {row['seed']}  AP {row['AP']:5.1f} "
            f"({row['AP low']:.1f} to {row['AP high']:.1f})  DSC {row['DSC']:5.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--real", action="store_true", help="score the real cases as well")
    add_home(parser)
    options = parser.parse_args()
    home = Home(options.home)
    home.prepare()
    minutes: dict[str, list[float]] = {}
    runs = []
    for key, method in METHODS.items():
        for seed in options.seeds.split(","):
            run, used = home.train(method, {}, int(seed))
            runs.append(run)
            minutes.setdefault(key, []).append(round(used.minutes, 1))
    datasets = [LESIONED]
    if options.real:
        datasets += add_real_cases(home)
    home.run("dal_evaluate", "-d", *datasets, "-m", "ALL")
    results = home.results()
    results = results[results["run"].isin(runs)]
    found: dict[str, Any] = {"benchmark": "quality", **by_seed(results, LESIONED)}
    for dataset in datasets:
        show(results, dataset)
    if options.real:
        found["real"] = {dataset: by_seed(results, dataset) for dataset in datasets[1:]}
    # A run that was complete before is not trained again: its minutes are those of looking.
    print(json.dumps(found | {"cpu_minutes": minutes}))


if __name__ == "__main__":
    main()
