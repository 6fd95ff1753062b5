"""``dal_evaluate``: choose runs and datasets, score what is missing, write the report."""

from __future__ import annotations

import argparse
import logging

import pandas as pd

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.cli.table import table, terminal_width
from dal_auto.evaluation.datasets import absent_datasets, annotated_datasets, current_cases
from dal_auto.evaluation.left_out import LeftOut, case_ids, overlapping
from dal_auto.evaluation.pictures.viewed_cases import keep_volumes
from dal_auto.evaluation.run import evaluate
from dal_auto.evaluation.scores import kept_datasets, read_scored
from dal_auto.evaluation.summary import write_summary
from dal_auto.planning.hardware import Hardware
from dal_auto.store.claim import claimed
from dal_auto.store.runs import choose_runs

logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    with claimed(paths.results() / "report", "Name another folder with DAL_RESULTS."):
        return _evaluate(options)


def _evaluate(options: argparse.Namespace) -> int:
    names = None if options.d == ["ALL"] else options.d
    absent = absent_datasets() if names is None else []
    for one in absent:
        logger.info("%s is not here: %s", one.dataset, one.remedy)
    if absent:
        logger.info("DAL_RAW is %s", paths.raw())
    runs = choose_runs(None if options.m == "ALL" else options.m, options.r, options.seeds)
    failures: list[str] = []
    if options.report_only:
        wanted = kept_datasets(runs, names)
        ids = case_ids(read_scored(runs, wanted)) if options.exclude_overlap else {}
    else:
        datasets, failures = annotated_datasets(names)
        wanted = list(datasets)
        ids = {name: [record.case_id for record in found] for name, found in datasets.items()}
    left_out = overlapping(ids, paths.raw()) if options.exclude_overlap else LeftOut()
    for sentence in left_out.sentences():
        logger.info(sentence)
    try:
        if not options.report_only:
            remaining = left_out.thin(datasets)
            device = Hardware.measure(options.device).device
            pictures = not options.no_pictures
            failures += evaluate(runs, remaining, device=device, pictures=pictures)
            if pictures:
                failures += keep_volumes(runs, remaining, device=device)
    finally:
        summary = write_summary(
            paths.results() / "report",
            read_scored(runs, wanted, current_cases(wanted)),
            failures=failures,
            command=options.typed,
            with_paper_tables=options.paper_tables,
            left_out=left_out,
        )
        for line in scores(summary.tables["results"]):
            logger.info(line)
        logger.info("report: %s", summary.page.resolve())
    return common.report_failures(summary.failures)


def scores(results: pd.DataFrame) -> list[str]:
    """The scores in percent as lines for a terminal; the intervals are in the report.

    Parameters
    ----------
    results : of `results.csv`
    """
    rows = [
        [
            *(str(row[name]) for name in ("dataset", "sequence", "method", "seed")),
            *(f"{row[name]:5.1f}" for name in ("AP", "DSC", "DSC practical")),
            str(row["cases"]),
        ]
        for row in results.to_dict("records")
    ]
    if not rows:
        return []
    header = ("dataset", "sequence", "method", "seed", "AP %", "DSC %", "practical", "cases")
    blocks = table(header, rows, terminal_width())
    return ["", *(line for block in blocks for line in block), ""]
