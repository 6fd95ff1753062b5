"""What the paper's tables have in common: which runs, how they are called, and rows of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dal_auto.evaluation.averages import ALL_SEQUENCES, PLAIN, averages_table, seeds_table
from dal_auto.evaluation.paper import reference
from dal_auto.evaluation.paper.families import differences, is_ablation
from dal_auto.evaluation.paper.formats import Value
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.plans import Plans
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run

OURS, PAPERS = "ours", "paper"
SEEDS_NOTE = "Ours: mean ± sample standard deviation over seeds; one seed has none."


@dataclass
class Rows:
    """Rows of a table as they are collected, with the standard deviations beside them."""

    values: list[dict[str, Value]] = field(default_factory=list)
    spreads: list[dict[str, float]] = field(default_factory=list)

    def add(self, *parts: Mapping[str, Value], spreads: Mapping[str, float] | None = None) -> None:
        """One row, its columns in the order of `parts`."""
        self.values.append({name: value for part in parts for name, value in part.items()})
        self.spreads.append(dict(spreads or {}))

    def in_order(self, columns: Sequence[str]) -> list[dict[str, Value]]:
        """The rows with these columns only."""
        return [{name: row.get(name) for name in columns} for row in self.values]


def plans_by_group(infos: Mapping[Run, RunInfo]) -> dict[RunGroup, Plans]:
    """Plans of each run, one for all its seeds."""
    return {run.identity.group: one.plans for run, one in infos.items()}


def main_runs(infos: Mapping[Run, RunInfo]) -> dict[RunGroup, str]:
    """Runs that are no part of an ablation, with what they are called; sorted by that."""
    plans = {group: one for group, one in plans_by_group(infos).items() if not is_ablation(one)}
    return dict(sorted(labels(plans).items(), key=lambda item: item[1]))


def labels(plans: Mapping[RunGroup, Plans]) -> dict[RunGroup, str]:
    """A short name for each run: the method, and as much more as tells it from the others."""
    changed = {group: differences(one) for group, one in plans.items()}
    details = {
        group: [
            ", ".join(f"{key.split('.')[-1]}={value}" for key, value in changed[group].items()),
            f"{one.configuration.name}, {one.method.preset}",
            f"trained on {group.training_set}",
            group.name,
        ]
        for group, one in plans.items()
    }
    for number in range(5):
        found = {}
        for group, one in plans.items():
            parts = [part for part in details[group][:number] if part]
            found[group] = f"{one.method.name} ({'; '.join(parts)})" if parts else one.method.name
        if len(set(found.values())) == len(found):
            return found
    raise AssertionError("the names of runs differ")


def of_runs(results: pd.DataFrame, groups: Iterable[RunGroup]) -> pd.DataFrame:
    """The rows of `results` that belong to these runs."""
    if results.empty:
        return results
    wanted = set(groups)
    return results[[run.group in wanted for run in results["run"]]]


def comparable(results: pd.DataFrame) -> pd.DataFrame:
    """The paper's nine datasets, where any of them was scored; else all that were."""
    if results.empty:
        return results
    known = results[results["dataset"].isin(reference.DATASETS)]
    return known if len(known) else results


def papers_sequences(results: pd.DataFrame) -> pd.DataFrame:
    """T1 and T2, where any of them was scored: a mean beside the paper's is of no other."""
    if results.empty:
        return results
    known = results[results["sequence"].isin(("T1", "T2"))]
    return known if len(known) else results


def sequences_of(results: pd.DataFrame) -> list[str]:
    """Sequences in the results, T1 and T2 first, and then all of them together."""
    found = set(results["sequence"]) if len(results) else set()
    return ["T1", "T2", *sorted(found - {"T1", "T2"}), ALL_SEQUENCES]


def seed_rows(results: pd.DataFrame) -> list[dict[str, Any]]:
    """`averages.seeds_table` as dictionaries."""
    return _dictionaries(seeds_table(results))


def average_rows(
    results: pd.DataFrame, kind: str = PLAIN, metrics: Sequence[str] = ("AP", "DSC")
) -> list[dict[str, Any]]:
    """`averages.averages_table` as dictionaries, of one kind of average."""
    return [
        row for row in _dictionaries(averages_table(results, metrics)) if row["average"] == kind
    ]


def _dictionaries(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def ap_dsc(prefix: str, row: Mapping[str, Any] | reference.ApDsc) -> dict[str, Value]:
    """AP and DSC as two columns."""
    ap, dsc = row if isinstance(row, tuple) else (row["AP"], row["DSC"])
    return {f"{prefix} AP": float(ap), f"{prefix} DSC": float(dsc)}


def spreads_of(
    prefix: str, row: Mapping[str, Any], metrics: Sequence[str] = ("AP", "DSC")
) -> dict[str, float]:
    """Their standard deviations over seeds."""
    return {f"{prefix} {name}": float(row[f"{name} std"]) for name in metrics}
