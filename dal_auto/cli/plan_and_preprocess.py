"""``dal_plan_and_preprocess``: fingerprint, plans, standard cases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dal_auto.choices import SKULL_STRIPPERS
from dal_auto.cli import common


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_plan_and_preprocess",
        description="Fingerprint raw datasets, plan, and bring every case to the standard grid: "
        "N4, rigid registration to SRI24, skull stripping, crop. Resumes where it was interrupted.",
        example="dal_plan_and_preprocess -d IXI BraTS-GLI",
    )
    parser.add_argument(
        "-d", nargs="+", required=True, metavar="DATASET", help="datasets in DAL_RAW, or ALL"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value of the plans' preprocessing section, e.g. preprocessing.skull_strip=robex",
    )
    parser.add_argument(
        "--skull-strip",
        choices=SKULL_STRIPPERS,
        metavar="NAME",
        help=f"{', '.join(SKULL_STRIPPERS)} (default: deepbet); the same as --set "
        "preprocessing.skull_strip",
    )
    common.add_planning(parser)
    common.add_workers(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    from dal_auto.cli.commands import plan_and_preprocess

    return plan_and_preprocess.run(options)
