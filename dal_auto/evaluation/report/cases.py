"""The cases that a report lists one by one, each with its picture, and with its volumes if kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dal_auto.evaluation.pictures.ranking import worst_and_best
from dal_auto.evaluation.report.content import CaseVolumes, Picture, Report
from dal_auto.evaluation.report.files import safe

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
    run: str
    values: Mapping[str, Any]
    picture: Picture | None = None
    volumes: CaseVolumes | None = None

    @property
    def stem(self) -> str:
        """Of its files: no other case, sequence, method or run has it."""
        run = hashlib.sha256(self.run.encode()).hexdigest()[:8] if self.run else ""
        name = f"{self.case_id}_{self.sequence}_{self.method}"
        return "_".join(filter(None, (safe(name), run)))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Cases of one dataset, sequence and method: the worst, worst first, and the best."""

    sequence: str
    method: str
    run: str
    worst: Sequence[Case]
    best: Sequence[Case]

    @property
    def cases(self) -> list[Case]:
        """From the worst to the best."""
        return [*self.worst, *reversed(self.best)]


def listed_cases(report: Report) -> list[Case]:
    """The cases of the report's shown runs, in the order of its table."""
    frame = with_runs(report.cases)
    if report.shown and len(frame):
        frame = frame[frame["run"].isin(report.shown)]
    pictures: dict[tuple[str, str, str], list[Picture]] = {}
    for picture in report.pictures:
        if picture.case_id:
            key = (picture.dataset, picture.case_id, picture.sequence)
            pictures.setdefault(key, []).append(picture)
    volumes = {
        (one.dataset, one.case_id, one.sequence, one.method, one.run): one for one in report.volumes
    }
    cases = []
    for row in frame.to_dict("records"):
        dataset, case_id, sequence, method, run = (
            str(row.get(name, "")) for name in ("dataset", "case", "sequence", "method", "run")
        )
        drawn = pictures.get((dataset, case_id, sequence), [])
        cases.append(
            Case(
                dataset=dataset,
                case_id=case_id,
                sequence=sequence,
                method=method,
                run=run,
                values={str(name): value for name, value in row.items()},
                picture=next((one for one in drawn if _is_of(one, method, run)), None),
                volumes=volumes.get((dataset, case_id, sequence, method, run)),
            )
        )
    return cases


def rankings(cases: Sequence[Case]) -> list[Ranking]:
    """Worst and best by AP, for every sequence and method in `cases`, which are of one dataset."""
    groups: dict[tuple[str, str, str], dict[str, Case]] = {}
    for case in cases:
        groups.setdefault((case.method, case.run, case.sequence), {})[case.case_id] = case
    found = []
    for (method, run, sequence), members in groups.items():
        scores = {name: float(one.values.get("AP", "nan")) for name, one in members.items()}
        worst, best = ([members[name] for name in names] for names in worst_and_best(scores))
        if worst:
            found.append(Ranking(sequence, method, run, worst, best))
    return found


def with_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column "run"; where there is none, seeds tell runs apart."""
    if "run" in frame.columns:
        return frame
    seeds = frame["seed"].astype(str) if "seed" in frame.columns else ""
    return frame.assign(run=seeds)


def _is_of(picture: Picture, method: str, run: str) -> bool:
    """A picture is drawn once for all variants of a method: "M" is that of "M (variant)" too."""
    if picture.run:
        return picture.run == run
    return picture.method in ("", method, method.split(" (")[0])
