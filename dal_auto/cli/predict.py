"""``dal_predict``: raw scans in, anomaly maps out."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dal_auto.cli import common
from dal_auto.datasets import bids, folder
from dal_auto.inference.run import predict_cases
from dal_auto.inference.runs import choose_run
from dal_auto.preprocessing.planner import Hardware

logger = logging.getLogger(__name__)

_FURTHER_OUTPUTS = ("pseudo-healthy", "atlas-space")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_predict",
        description="Write anomaly maps, masks and pictures for every scan in a folder, in the "
        "scan's own space. Names end in _T1/_T2, _0000/_0001 (T1, T2) or BIDS suffixes.",
        example="dal_predict -i scans -o maps",
    )
    parser.add_argument("-i", required=True, type=Path, metavar="FOLDER", help="raw scans")
    parser.add_argument("-o", required=True, type=Path, metavar="FOLDER", help="output")
    parser.add_argument("-m", metavar="METHOD", help="method, where runs of several exist")
    parser.add_argument("-r", metavar="RUN", help="a run: its folder, or a part of its name")
    parser.add_argument("--sequence", metavar="SEQ", help="all files are of this sequence")
    parser.add_argument(
        "--save",
        type=_outputs,
        default=frozenset(),
        metavar="A,B",
        help=f"further outputs: {', '.join(_FURTHER_OUTPUTS)}",
    )
    parser.add_argument(
        "--threshold", type=float, help="for the masks (default: the run's practical threshold)"
    )
    common.add_device(parser)
    common.add_workers(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _outputs(text: str) -> frozenset[str]:
    chosen = frozenset(text.split(","))
    if unknown := chosen - set(_FURTHER_OUTPUTS):
        raise argparse.ArgumentTypeError(f"unknown output {', '.join(sorted(unknown))}")
    return chosen


def _run(options: argparse.Namespace) -> int:
    run = choose_run(options.m, options.r)
    if options.sequence is None and bids.is_bids(options.i):
        cases = bids.find_cases(options.i, "folder")
    else:
        cases = folder.find_cases(options.i, sequence=options.sequence)
    logger.info("%d cases, model %s", len(cases), run)
    summary = predict_cases(
        cases,
        options.o,
        run,
        device=Hardware.measure(options.device).device,
        save=options.save,
        threshold=options.threshold,
        workforce=common.workforce(options),
    )
    logger.info(
        "%d cases done, %d kept from before, %d failed; table: %s",
        len(summary.done),
        len(summary.kept),
        len(summary.failures),
        options.o / "cases.csv",
    )
    return common.report_failures(summary.failures)
