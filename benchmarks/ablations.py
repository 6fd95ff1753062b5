"""The ablations of Tables 5, 6 and 7 on the simulated cohort, beside the paper's ordering.

One run per variant, in the `demo` configuration and with one seed, on the cohort of `quality.py`.
Table 5 takes the full method's weights: its variants score what they restore otherwise.
A variant is above or below the full method where the 95 % interval of the difference of their AP
(paired: the same patients are drawn for both) does not hold 0; else the comparison is unresolved,
and said to be. One seed each: what another seed would change is not in the interval. Resumes: a run
done is kept.

    python benchmarks/ablations.py [--set training.steps=300 …] [--home FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from simulated_cohort import LESIONED, Home, add_home

from dal_auto.evaluation.paper.reference import TABLE_5, TABLE_6, TABLE_7, ApDsc
from dal_auto.evaluation.result import Result
from dal_auto.evaluation.results import read_results
from dal_auto.evaluation.run_info import read_run_info
from dal_auto.evaluation.scores import read_scored
from dal_auto.methods.checkpoint import load_checkpoint, save_checkpoint
from dal_auto.scoring.bootstrap import interval
from dal_auto.store.runs import Run, run_of

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
TRAINED = (
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
SCORES = (
    Variant(5, "score: SSIM", {"scoring.score": "ssim"}, TABLE_5["ssim"]),
    Variant(5, "score: L1", {"scoring.score": "l1"}, TABLE_5["l1"]),
)
FULL = Variant(7, "full", {}, TABLE_7["nothing"])


def train(home: Home, variant: Variant, changes: dict[str, Any]) -> str:
    """Train one variant; returns its run's name in the report."""
    run, _ = home.train("DAL", changes | variant.changes)
    return run


def rescore(home: Home, full: str, variant: Variant) -> str:
    """The full method's weights under another score, as a run of its own; returns its name.

    `demo` keeps the last weights, whatever validation says of them: trained again with this score,
    they would be the same. Practical thresholds would not, and are left out.
    """
    given = Run(home.path / "results" / full)
    checkpoint = load_checkpoint(given.checkpoint_path)
    plans = checkpoint.plans.override(variant.changes, "user: --set")
    changes = {key: value for key, value, source in plans.flat() if source == "user: --set"}
    name = run_of(plans, changes, given.seed).name
    run = Run(given.folder.parent.parent / name / given.folder.name)
    if not run.complete:
        run.folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(run.checkpoint_path, replace(checkpoint, plans=plans, thresholds={}))
        shutil.copy(given.folder / "complete.json", run.folder)
    return str(run.folder.relative_to(home.path / "results"))


def results_of(home: Home, runs: Collection[str]) -> dict[tuple[str, str], Result]:
    """(run, sequence) → what the report kept of the lesioned heads."""
    found = [Run(home.path / "results" / run) for run in runs]
    results, _ = read_results(read_scored(found, [LESIONED]), read_run_info(found)[0], {})
    return {(str(result.run), result.sequence): result for result in results}


def verdict(low: float, high: float) -> str:
    """ "below", "above" or "unresolved": a variant's AP, by its interval less the full method's."""
    if high < 0:
        return "below"
    return "above" if low > 0 else "unresolved"


def compare(home: Home, names: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each sequence and variant; `names` are the runs', by the variants' titles."""
    results = results_of(home, names.values())
    rows = []
    for sequence in ("T1", "T2"):
        full = results[names[FULL.title], sequence]
        for variant in (FULL, *SCORES, *TRAINED):
            result = results[names[variant.title], sequence]
            metrics = result.metrics
            row: dict[str, Any] = {
                "table": variant.table,
                "variant": variant.title,
                "sequence": sequence,
                "ap": round(metrics.ap, 2),
                "interval": [round(metrics.ap_low, 2), round(metrics.ap_high, 2)],
                "paper_ap": variant.paper[sequence][0] if variant.paper else None,
            }
            if variant is not FULL:
                low, high = interval(100 * (result.resampled - full.resampled))
                row |= {"less_full": [round(low, 2), round(high, 2)], "is": verdict(low, high)}
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print("\n| table | variant | sequence | AP (95 %) | less the full method's | | paper |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["interval"]
        theirs = "" if row["paper_ap"] is None else f"{row['paper_ap']:.2f}"
        less = "{:+.1f} to {:+.1f}".format(*row["less_full"]) if "is" in row else ""
        print(
            f"| {row['table']} | {row['variant']} | {row['sequence']} "
            f"| {row['ap']:.1f} ({low:.1f} to {high:.1f}) | {less} | {row.get('is', '')} "
            f"| {theirs} |"
        )


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
    names = {variant.title: train(home, variant, changes) for variant in (FULL, *TRAINED)}
    names |= {variant.title: rescore(home, names[FULL.title], variant) for variant in SCORES}
    home.run("dal_evaluate", "-d", LESIONED, "-m", "DAL", "--seeds", "0,", "--paper-tables")
    rows = compare(home, names)
    show(rows)
    print(json.dumps({"benchmark": "ablations", "rows": rows}))


if __name__ == "__main__":
    main()
