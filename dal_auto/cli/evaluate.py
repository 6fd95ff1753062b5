"""``dal_evaluate``: score runs on annotated datasets, and write the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dal_auto.cli import common


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
        "--no-pictures",
        action="store_true",
        help="keep numbers alone: no picture, slices or volumes of what is scored now. Less time "
        "and disk where many methods are compared; the report's viewer stays empty",
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
    from dal_auto.cli.commands import evaluate

    return evaluate.run(options)
