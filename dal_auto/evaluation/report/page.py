"""The report as a folder that opens without a network: a summary, and a page for every dataset.

Cases whose volumes were kept have a page with a viewer, see `case_page`. Styles and scripts are
inside the pages; pictures lie beside them. No page holds a date: equal results give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dal_auto.evaluation.report.case_page import write_case_pages
from dal_auto.evaluation.report.cases import Case, listed_cases, rankings
from dal_auto.evaluation.report.content import CaseVolumes, Picture, Report
from dal_auto.evaluation.report.dataset_page import write_dataset_page
from dal_auto.evaluation.report.files import DATASETS, remove_others, safe
from dal_auto.evaluation.report.site import Site
from dal_auto.evaluation.report.table import BEST, Cell, Table, marked, mean_cell
from dal_auto.evaluation.report.texts import FILES, references
from dal_auto.pages.pictures import url

__all__ = ["CaseVolumes", "Picture", "Report", "write_report"]

SOURCES = ("paper", "measured", "ours", "user")


def write_report(report: Report, path: Path) -> list[Path]:
    """Write the summary to `path` and all other pages into folders beside it, each whole or not.

    A picture or volumes without a file are named as missing. Pictures from elsewhere are linked
    into the folder. Pages and pictures of an earlier report do not stay.

    Parameters
    ----------
    report : what the pages say; all of it is escaped
    path : the HTML file of the summary; the folders "datasets", "cases" and "pictures" beside it
        are the report's own

    Returns
    -------
    the pages, the summary first
    """
    site = Site(report, path)
    by_dataset: dict[str, list[Case]] = {name: [] for name in _datasets(report)}
    for case in listed_cases(report):
        by_dataset.setdefault(case.dataset, []).append(case)
    pages = {name: path.parent / DATASETS / f"{safe(name)}.html" for name in by_dataset}
    written = [path]
    for name, cases in by_dataset.items():
        ranked = rankings(cases)
        case_pages = write_case_pages(site, pages[name], ranked)
        write_dataset_page(site, name, pages, cases, ranked, case_pages)
        written += [pages[name], *case_pages.values()]
    site.write(
        path,
        "index.html",
        overview=_overview(report, pages, path),
        datasets={name: url(page, path) for name, page in pages.items()},
        lead=[site.drawn(one, path) for one in report.pictures if one.lead],
        pictures=[
            site.drawn(one, path) for one in report.pictures if not one.dataset and not one.lead
        ],
        plans=[(key, value, *_source(source)) for key, value, source in report.plans],
        files=[(name, FILES.get(name, "")) for name in report.files],
        left_out=report.left_out["dataset"].value_counts(sort=False).to_dict()
        if len(report.left_out)
        else {},
        references=references(report.methods_paragraph),
    )
    remove_others(path.parent, {*written, *site.brought})
    return written


def _datasets(report: Report) -> list[str]:
    """In the order in which they are met: that of the results first."""
    names: dict[str, None] = {}
    for frame in (report.results, report.cases):
        if "dataset" in frame.columns:
            names.update(dict.fromkeys(map(str, frame["dataset"])))
    names.update(dict.fromkeys(one.dataset for one in report.pictures if one.dataset))
    return list(names)


def _overview(report: Report, pages: dict[str, Path], page: Path) -> Table:
    """Datasets and sequences × methods: mean over seeds, the best of each row marked."""
    frame = report.results
    metrics = [name for name in BEST if name in frame.columns]
    if frame.empty:
        return Table([], [])
    called = [report.labels.get(run.group) for run in frame["run"]]
    frame = frame.assign(called=pd.Series(called, frame.index, object)).dropna(subset="called")
    methods = sorted(set(frame["called"]))
    rows = []
    for (dataset, sequence), group in frame.groupby(["dataset", "sequence"], sort=False):
        of_method = {str(name): part for name, part in group.groupby("called")}
        numbers: list[list[Cell]] = []
        for metric in metrics:
            values = [of_method.get(name, pd.DataFrame({metric: []}))[metric] for name in methods]
            numbers.append(marked([mean_cell(list(one)) for one in values]))
        cells = [cell for of_one in zip(*numbers, strict=True) for cell in of_one]
        first = Cell(str(dataset), url=url(pages[str(dataset)], page))
        count = [_count(group)] if "cases" in group.columns else []
        rows.append([first, Cell(str(sequence)), *count, *cells])
    columns = [("dataset", False), ("sequence", False)]
    columns += [("cases", True)] if "cases" in frame.columns else []
    columns += [(f"{name} {metric}", True) for name in methods for metric in metrics]
    return Table(columns, rows)


def _count(group: pd.DataFrame) -> Cell:
    number = int(group["cases"].max())
    return Cell(str(number), str(number))


def _source(source: str) -> tuple[str, str]:
    """Kind of the source (or "other") and what follows it."""
    kind, _, detail = source.partition(":")
    kind = kind.strip()
    return (kind, detail.strip()) if kind in SOURCES else ("other", source)
