"""From what was kept of each case to tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dal_auto.evaluation.run import Scored
from dal_auto.methods.checkpoint import threshold_key
from dal_auto.scoring.metrics import (
    auroc,
    average_precision,
    best_dice,
    best_mean_dice,
    dice_at,
)
from dal_auto.scoring.pooled_curve import ScoreCounts


def results_table(scored: Sequence[Scored]) -> pd.DataFrame:
    """One row per dataset, sequence and run.

    AP is pooled over all voxels of the standard grid (§4.2.2), "AP brain" over brain voxels only;
    DSC is the mean over subjects at the one threshold that makes it best, "DSC pooled" the pooled
    one at its own best threshold, "DSC practical" the mean at the run's practical threshold. Where
    a method has variants, the row is that of the best by AP, and names it. In percent, but for
    thresholds; RE_N and RE_A are mean |x − x_r| in healthy and lesion voxels, times 100.
    """
    groups: dict[tuple[str, str, str], list[Scored]] = {}
    for one in scored:
        groups.setdefault((one.dataset, one.sequence, str(one.run)), []).append(one)
    # Once per run: a checkpoint is large, and only its thresholds are wanted.
    thresholds = {run: run.load().thresholds for run in {one.run for one in scored}}
    rows = []
    for members in groups.values():
        practical = thresholds[members[0].run]
        variants = [_row(members, variant, practical) for variant in members[0].variants]
        rows.append(max(variants, key=lambda row: np.nan_to_num(row["AP"], nan=-1.0)))
    table = pd.DataFrame(rows)
    if rows:
        table = table.sort_values(["dataset", "sequence", "AP"], ascending=[True, True, False])
    return table.reset_index(drop=True)


def _row(
    members: Sequence[Scored], variant: str, thresholds: Mapping[str, float]
) -> dict[str, str | int | float]:
    first = members[0]
    per_case = [one.counts(variant, "grid") for one in members]
    pooled = sum(per_case, start=ScoreCounts.empty())
    brain = sum((one.counts(variant, "brain") for one in members), start=ScoreCounts.empty())
    mean_dice, threshold = best_mean_dice(per_case)
    practical = thresholds[threshold_key(first.sequence, variant)]
    at_practical = [dice_at(counts, practical) for counts in per_case if counts.lesion.any()]
    return {
        "dataset": first.dataset,
        "sequence": first.sequence,
        "method": first.method(variant),
        "variant": variant,
        "seed": first.run.seed,
        "cases": len(members),
        "AP": 100 * average_precision(pooled),
        "DSC": 100 * mean_dice,
        "AP brain": 100 * average_precision(brain),
        "DSC pooled": 100 * best_dice(pooled)[0],
        "DSC practical": 100 * float(np.mean(at_practical)) if at_practical else float("nan"),
        "AUROC": 100 * auroc(pooled),
        "RE_N": _mean_figure(members, "error_normal"),
        "RE_A": _mean_figure(members, "error_lesion"),
        "threshold": threshold,
        "practical threshold": practical,
        "run": str(first.run),
    }


def _mean_figure(members: Sequence[Scored], name: str) -> float:
    values = [one.content[name] for one in members if one.content[name] is not None]
    return 100 * float(np.mean(values)) if values else float("nan")


def cases_table(scored: Sequence[Scored]) -> pd.DataFrame:
    """One row per case, sequence, run and variant: AP and best Dice of the case alone."""
    rows = []
    for one in scored:
        for variant in one.variants:
            counts = one.counts(variant, "grid")
            rows.append(
                {
                    "dataset": one.dataset,
                    "case": one.case_id,
                    "patient": one.content["patient"],
                    "sequence": one.sequence,
                    "method": one.method(variant),
                    "seed": one.run.seed,
                    "lesion ml": one.content["lesion_ml"],
                    "lesion outside brain %": 100 * one.content["lesion_outside_brain"],
                    "AP": 100 * average_precision(counts),
                    "best DSC": 100 * best_dice(counts)[0],
                }
            )
    return pd.DataFrame(rows)


def verdicts(results: pd.DataFrame, trivial: set[str]) -> list[str]:
    """For every dataset and sequence: does each method beat the best trivial baseline in AP?

    Parameters
    ----------
    results : of `results_table`
    trivial : names of the methods that know nothing of anatomy
    """
    sentences = []
    if results.empty:
        return ["Nothing has been scored yet."]
    for (dataset, sequence), rows in results.groupby(["dataset", "sequence"]):
        names = rows["run"].map(lambda run: str(run).split("/")[1].split("__")[0])
        baseline = rows[names.isin(trivial)]
        if baseline.empty:
            continue
        best = baseline.sort_values("AP").iloc[-1]
        for _, row in rows[~names.isin(trivial)].iterrows():
            word = "beats" if row["AP"] > best["AP"] else "does not beat"
            sentences.append(
                f"{row['method']} (seed {row['seed']}) {word} the best trivial baseline, "
                f"{best['method']}, on {dataset} {sequence}: AP {row['AP']:.1f} against "
                f"{best['AP']:.1f}."
            )
    return sentences or ["No method other than the trivial baselines has been scored."]
