"""The ablations of Tables 5, 6 and 7 on the simulated cohort, beside the paper's ordering.

One run per variant, in the `demo` configuration and with one seed, on the cohort of `quality.py`
(whose run is the full method here). Where the 95 % intervals (by patient) of a variant and of the
full method overlap, the comparison is unresolved, and said to be. Resumes: a run done is kept.

    python benchmarks/ablations.py [--set training.steps=300 …] [--home FOLDER]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
from simulated_cohort import LESIONED, Home, add_home

from dal_auto.evaluation.reference import TABLE_5, TABLE_6, TABLE_7, ApDsc

_SETTINGS = "method.settings."


@dataclass(frozen=True)
class Variant:
    """One row of one of the tables.

    Parameters
    ----------
    table : 5, 6 or 7
    title : what is varied
    changes : dotted key of the plans → value
    paper : sequence → the paper's AP and DSC, where it prints this row
    """

    table: int
    title: str
    changes: dict[str, Any]
    paper: dict[str, ApDsc] | None = None


def _terms(*names: str) -> dict[str, Any]:
    return {f"{_SETTINGS}loss_terms": list(names)}


#: Rows of Table 6 between first and last have ticks that the paper's text does not let one read.
VARIANTS = (
    Variant(5, "score: SSIM", {"scoring.score": "ssim"}, TABLE_5["ssim"]),
    Variant(5, "score: L1", {"scoring.score": "l1"}, TABLE_5["l1"]),
    Variant(6, "losses: reconstruction only", _terms(), TABLE_6[0].values),
    Variant(6, "losses: anatomy", _terms("con_A", "sim_A")),
    Variant(6, "losses: modality", _terms("con_M", "sim_M")),
    Variant(6, "losses: anatomy and modality", _terms("con_A", "sim_A", "con_M", "sim_M")),
    Variant(6, "losses: code", _terms("con_AE")),
    *(
        Variant(
            7, f"no {name}", {f"{_SETTINGS}{name.replace(' ', '_').replace('-', '_')}": False}, row
        )
        for name, row in TABLE_7.items()
        if name != "nothing"
    ),
)
FULL = Variant(7, "full", {}, TABLE_7["nothing"])


def train(home: Home, variant: Variant, changes: dict[str, Any]) -> str:
    """Train one variant; returns its run's name in the report."""
    run, _ = home.train("DAL", changes | variant.changes)
    return run


def compared(row: dict[str, Any], full: dict[str, Any]) -> str:
    """ "below", "above" or "unresolved": AP of a variant against the full method's."""
    if row["AP high"] < full["AP low"]:
        return "below"
    return "above" if row["AP low"] > full["AP high"] else "unresolved"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="for every variant alike"
    )
    add_home(parser)
    options = parser.parse_args()
    home = Home(options.home)
    home.prepare()
    pairs = (one.partition("=") for one in options.set)
    changes = {key: json.loads(value) for key, _, value in pairs}
    names = {variant.title: train(home, variant, changes) for variant in (FULL, *VARIANTS)}
    home.run("dal_evaluate", "-d", LESIONED, "-m", "DAL", "--seeds", "0,", "--paper-tables")
    results = home.results()
    results = results[results["dataset"] == LESIONED]
    content = []
    print("\ntable  variant                         seq   AP (95 % interval)        paper  vs full")
    for sequence in ("T1", "T2"):
        full = _row(results, names[FULL.title], sequence)
        for variant in (FULL, *VARIANTS):
            row = _row(results, names[variant.title], sequence)
            against = "" if variant is FULL else compared(row, full)
            theirs = variant.paper[sequence][0] if variant.paper else None
            interval = f"{row['AP low']:5.1f} to {row['AP high']:5.1f}"
            print(
                f"{variant.table:5}  {variant.title:30}  {sequence}  {row['AP']:5.1f} ({interval})"
                f"  {'  – ' if theirs is None else f'{theirs:5.2f}'}  {against}"
            )
            content.append(
                {
                    "table": variant.table,
                    "variant": variant.title,
                    "sequence": sequence,
                    "ap": round(row["AP"], 2),
                    "low": round(row["AP low"], 2),
                    "high": round(row["AP high"], 2),
                    "paper_ap": theirs,
                    "against_full": against or None,
                }
            )
    print(json.dumps({"benchmark": "ablations", "rows": content}))


def _row(results: pd.DataFrame, run: str, sequence: str) -> dict[str, Any]:
    """The line of the report's table of one run."""
    chosen = results[(results["run"] == run) & (results["sequence"] == sequence)]
    (row,) = chosen.to_dict("records")
    return {str(key): value for key, value in row.items()}


if __name__ == "__main__":
    main()
