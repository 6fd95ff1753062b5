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
from dal_auto.evaluation.run_info import RunFacts
from dal_auto.plans import Plans
from dal_auto.store.runs import Run

OURS, PAPERS = "ours", "paper"
SEEDS_NOTE = "Ours: mean ± sample standard deviation over seeds; one seed has none."
#: Training set and name of a run: what its seeds share.
RunName = tuple[str, str]


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


def plans_by_name(facts: Mapping[Run, RunFacts]) -> dict[RunName, Plans]:
    """Plans of each run, one for all its seeds."""
    return {(run.training_set, run.name): one.plans for run, one in facts.items()}


def main_runs(facts: Mapping[Run, RunFacts]) -> dict[RunName, str]:
    """Runs that are no part of an ablation, with what they are called; sorted by that."""
    plans = {name: one for name, one in plans_by_name(facts).items() if not is_ablation(one)}
    return dict(sorted(labels(plans).items(), key=lambda item: item[1]))


def labels(plans: Mapping[RunName, Plans]) -> dict[RunName, str]:
    """A short name for each run: the method, and as much more as tells it from the others."""
    changed = {name: differences(one) for name, one in plans.items()}
    details = {
        name: [
            ", ".join(f"{key.split('.')[-1]}={value}" for key, value in changed[name].items()),
            f"{one.configuration.name}, {one.method.preset}",
            f"trained on {name[0]}",
            name[1],
        ]
        for name, one in plans.items()
    }
    for number in range(5):
        found = {}
        for name, one in plans.items():
            parts = [part for part in details[name][:number] if part]
            found[name] = f"{one.method.name} ({'; '.join(parts)})" if parts else one.method.name
        if len(set(found.values())) == len(found):
            return found
    raise AssertionError("the names of runs differ")


def of_runs(results: pd.DataFrame, names: Iterable[RunName]) -> pd.DataFrame:
    """The rows of `results` that belong to these runs."""
    wanted = {"/".join(name) for name in names}
    if results.empty:
        return results
    return results[results["run"].str.rsplit("/", n=1).str[0].isin(wanted)]


def comparable(results: pd.DataFrame) -> pd.DataFrame:
    """The paper's nine datasets, where any of them was scored; else all that were."""
    if results.empty:
        return results
    known = results[results["dataset"].isin(reference.DATASETS)]
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
