"""Means over seeds, and over datasets: the paper's plain means of cells, and ours beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

#: What is averaged, in percent.
METRICS = ("AP", "DSC", "AP brain", "DSC brain", "DSC pooled", "DSC practical", "AUROC")
ALL_SEQUENCES = "all"
PLAIN = "plain mean of cells"
WEIGHTED = "mean weighted by cases"
_GROUP = ["training set", "run name"]


def with_run_columns(results: pd.DataFrame) -> pd.DataFrame:
    """`results` with "training set" and "run name", which the seeds of one run share."""
    parts = results["run"].str.split("/", n=2)
    return results.assign(**{"training set": parts.str[0], "run name": parts.str[1]})


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
    for key, group in with_run_columns(results).groupby(["dataset", "sequence", *_GROUP]):
        row = dict(zip(("dataset", "sequence", *_GROUP), key, strict=True))
        row |= {"method": _common(group["method"]), "seeds": len(group)}
        row["cases"] = int(group["cases"].max())
        for metric in metrics:
            row |= {metric: group[metric].mean(), f"{metric} std": group[metric].std()}
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
    for key, group in with_run_columns(results).groupby(_GROUP):
        sequences = sorted(group["sequence"].unique())
        for sequence in [*sequences, *([ALL_SEQUENCES] if len(sequences) > 1 else [])]:
            part = group if sequence == ALL_SEQUENCES else group[group["sequence"] == sequence]
            for kind in (PLAIN, WEIGHTED):
                rows.append(
                    dict(zip(_GROUP, key, strict=True))
                    | {"method": _common(part["method"]), "sequence": sequence, "average": kind}
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


def _common(methods: pd.Series) -> str:
    """The method's name; without the variant where seeds or datasets differ in it."""
    names = sorted(set(methods))
    return str(names[0]) if len(names) == 1 else str(names[0]).split(" (")[0]
