"""``dal_evaluate``: score runs on annotated datasets, and write the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.evaluation.datasets import absent_datasets, annotated_datasets
from dal_auto.evaluation.left_out import LeftOut, case_ids, overlapping
from dal_auto.evaluation.pictures.viewed_cases import keep_volumes
from dal_auto.evaluation.run import evaluate
from dal_auto.evaluation.scores import evaluated_datasets, read_scored
from dal_auto.evaluation.summary import write_summary
from dal_auto.planning.hardware import Hardware
from dal_auto.store.claim import claimed
from dal_auto.store.runs import choose_runs

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_evaluate",
        description="Score trained runs on preprocessed datasets with lesion masks: predicts what "
        "is missing, writes tables (CSV), figures, a manifest and an offline HTML report. Test "
        "sets that are not here are listed with what to do.",
        example="dal_evaluate -d BraTS-GLI MSLUB -m ALL",
    )
    parser.add_argument(
        "-d", nargs="+", default=["ALL"], metavar="DATASET", help="datasets (default: ALL)"
    )
    parser.add_argument("-m", default="ALL", metavar="METHOD", help="method (default: ALL)")
    parser.add_argument("-r", metavar="RUN", help="a run: its folder, or a part of its name")
    common.add_seeds(parser, None)
    parser.add_argument(
        "--report-only", action="store_true", help="predict nothing: rebuild from what is kept"
    )
    parser.add_argument(
        "--paper-tables",
        action="store_true",
        help="also the paper's Tables 3 to 8 and hyper-parameter curves, its values beside ours, "
        "as CSV, Markdown and LaTeX",
    )
    parser.add_argument(
        "--exclude-overlap",
        action="store_true",
        help="leave out the cases of UPenn-GBM and UCSF-PDGM that BraTS-GLI holds too; needs the "
        "table that tells them, see the docs",
    )
    common.add_device(parser)
    common.add_common(parser)
    typed = sys.argv[1:] if arguments is None else arguments
    parser.set_defaults(typed=[parser.prog, *typed])
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    with claimed(paths.results() / "report", "Name another folder with DAL_RESULTS."):
        return _evaluate(options)


def _evaluate(options: argparse.Namespace) -> int:
    names = None if options.d == ["ALL"] else options.d
    for absent in absent_datasets() if names is None else ():
        logger.info("%s is not here: %s", absent.dataset, absent.remedy)
    runs = choose_runs(None if options.m == "ALL" else options.m, options.r, options.seeds)
    failures: list[str] = []
    if options.report_only:
        kept = evaluated_datasets(runs)
        wanted = [one for one in kept if names is None or one.lower() in map(str.lower, names)]
        ids = case_ids(read_scored(runs, wanted)) if options.exclude_overlap else {}
    else:
        datasets = annotated_datasets(names)
        wanted = list(datasets)
        ids = {name: [record.case_id for record in found] for name, found in datasets.items()}
    left_out = overlapping(ids, paths.raw()) if options.exclude_overlap else LeftOut()
    for sentence in left_out.sentences():
        logger.info(sentence)
    try:
        if not options.report_only:
            remaining = left_out.thin(datasets)
            device = Hardware.measure(options.device).device
            failures += evaluate(runs, remaining, device=device)
            failures += keep_volumes(runs, remaining, device=device)
    finally:
        summary = write_summary(
            paths.results() / "report",
            read_scored(runs, wanted),
            failures=failures,
            command=options.typed,
            with_paper_tables=options.paper_tables,
            left_out=left_out,
        )
        logger.info("report: %s", summary.page.resolve())
    return common.report_failures(summary.failures)
