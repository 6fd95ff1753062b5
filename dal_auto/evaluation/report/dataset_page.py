"""A dataset's page: all its results, its worst and best cases, its figures, all its cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dal_auto.evaluation.report.cases import HIDDEN, Case, Ranking
from dal_auto.evaluation.report.site import Drawn, Site
from dal_auto.evaluation.report.table import Table, number, table_of
from dal_auto.evaluation.report.texts import COLUMNS
from dal_auto.pages.pictures import url

_CARD = ("AP", "DSC", "lesion ml")


@dataclass(frozen=True)
class Card:
    """A case as the page offers it; `url` leads to its viewer, or else to its picture."""

    case: Case
    url: str
    drawn: Drawn | None
    figures: Sequence[tuple[str, str]]


def write_dataset_page(
    site: Site,
    name: str,
    pages: Mapping[str, Path],
    cases: Sequence[Case],
    ranked: Sequence[Ranking],
    case_pages: Mapping[Case, Path],
) -> None:
    """Write the page of the dataset `name`.

    Parameters
    ----------
    pages : dataset → its page
    cases, ranked : those of the dataset
    case_pages : case → its page, where it has one
    """
    page, report = pages[name], site.report
    results = _of(report.results, name)
    drawn = {
        case: site.drawn(case.picture, page, case) for case in cases if case.picture is not None
    }
    links = [
        url(case_pages[case], page) if case in case_pages else _source(drawn.get(case))
        for case in cases
    ]
    linked = dict(zip(cases, links, strict=True))

    def card(case: Case) -> Card:
        known = [(n, number(case.values[n])) for n in _CARD if n in case.values]
        return Card(case, linked[case], drawn.get(case), known)

    tables = {
        "results": table_of(results, ["sequence"] if "sequence" in results else [], hidden=HIDDEN),
        "cases": _case_table(cases, links, case_pages),
    }
    shown = {column for table in tables.values() for column, _ in table.columns}
    left_out = _of(report.left_out, name)
    site.write(
        page,
        "dataset.html",
        dataset=name,
        others={other: url(path, page) for other, path in pages.items() if other != name},
        meanings={column: text for column, text in COLUMNS.items() if column in shown},
        groups=[
            (one, [(kind, [card(case) for case in found]) for kind, found in _kinds(one)])
            for one in ranked
        ],
        viewers=bool(case_pages),
        pictures=[
            site.drawn(one, page)
            for one in report.pictures
            if one.dataset == name and not one.case_id
        ],
        left_out=[]
        if left_out.empty
        else list(zip(left_out["case"], left_out["reason"], strict=True)),
        whose=sorted({f"{case.method}, {case.run}".strip(", ") for case in cases}),
        results=tables["results"],
        cases=tables["cases"],
    )


def _kinds(ranking: Ranking) -> list[tuple[str, Sequence[Case]]]:
    return [("Worst", ranking.worst), *([("Best", ranking.best)] if ranking.best else [])]


def _case_table(
    cases: Sequence[Case], links: Sequence[str], case_pages: Mapping[Case, Path]
) -> Table:
    """All cases, the worst first; what is the same for all of them needs no column."""
    frame = pd.DataFrame([dict(case.values) for case in cases])
    if frame.empty:
        return Table([], [])
    same = [n for n in ("method", "seed") if n in frame.columns and frame[n].nunique() == 1]
    if "patient" in frame.columns and (frame["patient"] == frame["case"]).all():
        same.append("patient")
    frame.insert(
        list(frame.columns).index("case") + 1,
        "shown in",
        [
            "viewer" if case in case_pages else "picture" if link else None
            for case, link in zip(cases, links, strict=True)
        ],
    )
    known = frame["AP"].to_numpy(float) if "AP" in frame.columns else np.zeros(len(frame))
    order = np.argsort(known, kind="stable").tolist()
    return table_of(
        frame.iloc[order],
        hidden=("dataset", *HIDDEN, *same),
        urls={"case": [links[i] for i in order]},
        row_heading="case",
        rising="AP",
    )


def _of(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    if "dataset" not in frame.columns:
        return pd.DataFrame()
    return frame[frame["dataset"] == dataset].drop(columns="dataset").reset_index(drop=True)


def _source(drawn: Drawn | None) -> str:
    return drawn.shown.url if drawn and drawn.shown else ""
