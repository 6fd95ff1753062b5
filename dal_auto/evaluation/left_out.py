"""Cases that are left out of the scores on request, since another dataset holds them too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from dal_auto.datasets.overlap import COLLECTIONS, cases_to_leave_out, find_overlap
from dal_auto.evaluation.scores import Records, ScoredImage
from dal_auto.store.standard_cases import CaseRecord


@dataclass(frozen=True)
class LeftOut:
    """What is left out, and of how many.

    Parameters
    ----------
    cases : dataset → case id → reason
    totals : dataset that can overlap with another → its cases before
    undecidable : dataset → BraTS-GLI cases of which it cannot be told whether they are in it
    """

    cases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    undecidable: Mapping[str, int] = field(default_factory=dict)

    def has(self, dataset: str, case_id: str) -> bool:
        return case_id in self.cases.get(dataset, {})

    def thin(self, datasets: Mapping[str, Sequence[CaseRecord]]) -> dict[str, list[CaseRecord]]:
        """The standard cases that stay."""
        return {
            name: [record for record in records if not self.has(name, record.case_id)]
            for name, records in datasets.items()
        }

    def table(self) -> pd.DataFrame:
        """One row per case: dataset, case, reason."""
        rows = [
            {"dataset": dataset, "case": case_id, "reason": reason}
            for dataset, cases in sorted(self.cases.items())
            for case_id, reason in sorted(cases.items())
        ]
        return pd.DataFrame(rows, columns=["dataset", "case", "reason"])

    def sentences(self) -> list[str]:
        """How many of each dataset, for the log and the report."""
        return [
            f"{dataset}: {len(self.cases.get(dataset, {}))} of {total} cases are left out, because "
            "another test set holds the same scans."
            + (
                f" Of {self.undecidable[dataset]} further scans of BraTS-GLI it cannot be told."
                if dataset in self.undecidable
                else ""
            )
            for dataset, total in sorted(self.totals.items())
        ]


def overlapping(evaluated: Mapping[str, Collection[str]], raw: Path) -> LeftOut:
    """The cases that `--exclude-overlap` leaves out, see `cases_to_leave_out`.

    Parameters
    ----------
    evaluated : dataset → its case ids
    raw : DAL_RAW, where the tables that tell the overlap lie

    Raises
    ------
    UsageError, InputError, MissingDependency
        if a dataset is evaluated whose overlap cannot be told; the message says what to get.
    """
    if not set(COLLECTIONS.values()) & set(evaluated):
        return LeftOut()
    overlap = find_overlap(raw)
    cases = cases_to_leave_out(overlap, evaluated)
    concerned = {*COLLECTIONS.values(), *cases} & set(evaluated)
    return LeftOut(
        cases,
        {dataset: len(evaluated[dataset]) for dataset in concerned},
        {name: number for name, number in overlap.undecidable.items() if name in concerned},
    )


def with_counts(results: pd.DataFrame, left_out: LeftOut) -> pd.DataFrame:
    """The table of results with a column "left out": how many cases of the dataset are."""
    counts = [len(left_out.cases.get(str(dataset), {})) for dataset in results["dataset"]]
    table = results.copy()
    table.insert(list(table.columns).index("cases") + 1, "left out", counts)
    return table


def case_ids(records: Records) -> dict[str, list[str]]:
    """Dataset → its scored cases."""
    ids: dict[str, set[str]] = {}
    for one in records.scored:
        ids.setdefault(one.dataset, set()).add(one.case_id)
    return {dataset: sorted(cases) for dataset, cases in ids.items()}


def without(records: Records, left_out: LeftOut) -> Records:
    """The records of all other cases."""

    def stays(one: ScoredImage) -> bool:
        return not left_out.has(one.dataset, one.case_id)

    return replace(records, scored=[one for one in records.scored if stays(one)])
