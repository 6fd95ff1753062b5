"""``dal_evaluate``: score runs on annotated datasets, and write the report."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.evaluation.run import evaluate, read_scored
from dal_auto.evaluation.summary import annotated_datasets, write_summary
from dal_auto.inference.runs import choose_runs
from dal_auto.preprocessing.planner import Hardware

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_evaluate",
        description="Score trained runs on preprocessed datasets with lesion masks: predicts what "
        "is missing, writes results.csv, cases.csv and an offline HTML report.",
        example="dal_evaluate -d BraTS-GLI MSLUB -m ALL",
    )
    parser.add_argument(
        "-d", nargs="+", default=["ALL"], metavar="DATASET", help="datasets (default: ALL)"
    )
    parser.add_argument("-m", default="ALL", metavar="METHOD", help="method (default: ALL)")
    parser.add_argument("-r", metavar="RUN", help="a run: its folder, or a part of its name")
    common.add_seeds(parser, None)
    common.add_device(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    runs = choose_runs(None if options.m == "ALL" else options.m, options.r, options.seeds)
    datasets = annotated_datasets(None if options.d == ["ALL"] else options.d)
    failures: list[str] = []
    try:
        failures += evaluate(runs, datasets, device=Hardware.measure(options.device).device)
    finally:
        scored = read_scored(runs, list(datasets))
        page = write_summary(paths.results() / "report", scored, failures)
        logger.info("report: %s", page.resolve())
    return common.report_failures(failures)
