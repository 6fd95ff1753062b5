"""The cases that a report lists one by one, each with its picture, and with its volumes if kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dal_auto.evaluation.pictures.ranking import worst_and_best
from dal_auto.evaluation.report.content import CaseVolumes, Picture, Report
from dal_auto.evaluation.report.files import safe
from dal_auto.store.run_identity import RunIdentity

HIDDEN = ("variant", "run")


@dataclass(frozen=True, eq=False)
class Case:
    """One case, sequence and method.

    Parameters
    ----------
    values : its row of the table of cases
    """

    dataset: str
    case_id: str
    sequence: str
    method: str
    run: RunIdentity
    values: Mapping[str, Any]
    picture: Picture | None = None
    volumes: CaseVolumes | None = None

    @property
    def stem(self) -> str:
        """Of its files: no other case, sequence, method or run has it."""
        run = hashlib.sha256(str(self.run).encode()).hexdigest()[:8]
        return f"{safe(f'{self.case_id}_{self.sequence}_{self.method}')}_{run}"


@dataclass(frozen=True, eq=False)
class Ranking:
    """Cases of one dataset, sequence and method: the worst, worst first, and the best."""

    sequence: str
    method: str
    run: RunIdentity
    worst: Sequence[Case]
    best: Sequence[Case]

    @property
    def cases(self) -> list[Case]:
        """From the worst to the best."""
        return [*self.worst, *reversed(self.best)]


def listed_cases(report: Report) -> list[Case]:
    """The cases of the report's shown runs, in the order of its table."""
    frame = report.cases
    if report.shown and len(frame):
        frame = frame[frame["run"].isin(report.shown)]
    pictures: dict[tuple[str, str, str, RunIdentity | None], Picture] = {}
    for one in report.pictures:
        if one.case_id:  # drawn once for all variants of a method
            pictures.setdefault((one.dataset, one.case_id, one.sequence, one.run), one)
    volumes = {
        (one.dataset, one.case_id, one.sequence, one.method, one.run): one for one in report.volumes
    }
    cases = []
    for row in frame.to_dict("records"):
        dataset, case_id, sequence, method = (
            str(row[name]) for name in ("dataset", "case", "sequence", "method")
        )
        run: RunIdentity = row["run"]
        cases.append(
            Case(
                dataset=dataset,
                case_id=case_id,
                sequence=sequence,
                method=method,
                run=run,
                values={str(name): value for name, value in row.items()},
                picture=pictures.get((dataset, case_id, sequence, run)),
                volumes=volumes.get((dataset, case_id, sequence, method, run)),
            )
        )
    return cases


def rankings(cases: Sequence[Case]) -> list[Ranking]:
    """Worst and best by AP, for every sequence and method in `cases`, which are of one dataset."""
    groups: dict[tuple[str, RunIdentity, str], dict[str, Case]] = {}
    for case in cases:
        groups.setdefault((case.method, case.run, case.sequence), {})[case.case_id] = case
    found = []
    for (method, run, sequence), members in groups.items():
        scores = {name: float(one.values.get("AP", "nan")) for name, one in members.items()}
        worst, best = ([members[name] for name in names] for names in worst_and_best(scores))
        if worst:
            found.append(Ranking(sequence, method, run, worst, best))
    return found
