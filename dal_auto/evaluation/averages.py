"""Means over seeds, and over datasets: the paper's plain means of cells, and ours beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dal_auto.store.run_identity import RunGroup

#: What is averaged, in percent.
METRICS = ("AP", "DSC", "AP brain", "DSC brain", "DSC pooled", "DSC practical", "AUROC")
ALL_SEQUENCES = "all"
PLAIN = "plain mean of cells"
WEIGHTED = "mean weighted by cases"


def by_group(results: pd.DataFrame) -> list[tuple[RunGroup, pd.DataFrame]]:
    """The rows of each group of runs that differ by their seed, sorted by group."""
    found: dict[RunGroup, list[int]] = {}
    for position, run in enumerate(results["run"]):
        found.setdefault(run.group, []).append(position)
    return [(group, results.iloc[found[group]]) for group in sorted(found)]


def _names(group: RunGroup) -> dict[str, object]:
    return {"training set": group.training_set, "run name": group.name}


def seeds_table(results: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """One row per dataset, sequence and run name: mean over its seeds, and standard deviation.

    The standard deviation is the sample's (n − 1); with one seed there is none.

    Parameters
    ----------
    results : of `tables.results_table`
    metrics : its columns to average
    """
    if results.empty:
        return pd.DataFrame()
    rows = []
    for (dataset, sequence), everything in results.groupby(["dataset", "sequence"]):
        for group, part in by_group(everything):
            row = {"dataset": dataset, "sequence": sequence, **_names(group)}
            row |= {"method": _common(part, group), "seeds": len(part)}
            row["cases"] = int(part["cases"].max())
            for metric in metrics:
                row |= {metric: part[metric].mean(), f"{metric} std": part[metric].std()}
            rows.append(row)
    return pd.DataFrame(rows)


def averages_table(results: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """One row per run name, sequence (and all) and kind of average over datasets.

    "plain mean of cells" is the paper's: every dataset counts the same, and over all sequences
    every pair of dataset and sequence. "mean weighted by cases" is ours: every scored image counts
    the same. Values are means over seeds first; the standard deviation is that of the averages of
    those seeds that were scored on every cell.

    Parameters
    ----------
    results : of `tables.results_table`
    metrics : its columns to average
    """
    if results.empty:
        return pd.DataFrame()
    rows = []
    for group, mine in by_group(results):
        sequences = sorted(mine["sequence"].unique())
        for sequence in [*sequences, *([ALL_SEQUENCES] if len(sequences) > 1 else [])]:
            part = mine if sequence == ALL_SEQUENCES else mine[mine["sequence"] == sequence]
            for kind in (PLAIN, WEIGHTED):
                rows.append(
                    _names(group)
                    | {"method": _common(part, group), "sequence": sequence, "average": kind}
                    | _average(part, kind, metrics)
                )
    return pd.DataFrame(rows)


def _average(part: pd.DataFrame, kind: str, metrics: Sequence[str]) -> dict[str, object]:
    cells = part.groupby(["dataset", "sequence"])[["cases", *metrics]].mean()
    row: dict[str, object] = {
        "cells": len(cells),
        "datasets": " ".join(sorted(part["dataset"].unique())),
        "images": int(cells["cases"].sum()),
        "seeds": part["seed"].nunique(),
    }
    complete = [seed for _, seed in part.groupby("seed") if len(seed) == len(cells)]
    for metric in metrics:
        row[metric] = _mean(cells, metric, kind)
        row[f"{metric} std"] = pd.Series([_mean(one, metric, kind) for one in complete]).std()
    return row


def _mean(cells: pd.DataFrame, metric: str, kind: str) -> float:
    """NaN where a cell has no value: an average without it would be one of something else."""
    weights = cells["cases"] if kind == WEIGHTED else cells["cases"] * 0 + 1
    return float((cells[metric] * weights).sum(skipna=False) / weights.sum())


def _common(part: pd.DataFrame, group: RunGroup) -> str:
    """What the method is called; without the variant where seeds or datasets differ in it."""
    names = set(part["method"])
    return str(names.pop()) if len(names) == 1 else group.method
