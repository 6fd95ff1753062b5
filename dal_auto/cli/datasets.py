"""``dal_datasets``: what is known, what is on disk, a simulated cohort, and the atlas."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dal_auto.choices import POSSIBLE_SEQUENCES, SIMULATED_SEQUENCES
from dal_auto.cli import common


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_datasets",
        description="List known datasets, check one on disk, simulate a cohort, or take over a "
        "copy of the SRI24 atlas.",
        example="dal_datasets check IXI",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=argparse.ArgumentParser
    )
    listing = commands.add_parser("list", help="known datasets, and which are in DAL_RAW")
    check = commands.add_parser("check", help="read every image of a dataset, list what is wrong")
    check.add_argument("dataset")
    simulate = commands.add_parser(
        "simulate", help="write SimHealthy and SimLesions (BIDS) into DAL_RAW"
    )
    simulate.add_argument(
        "--healthy", type=common.whole_number(0), default=24, help="healthy subjects (default: 24)"
    )
    simulate.add_argument(
        "--lesioned", type=common.whole_number(0), default=6, help="lesioned ones (default: 6)"
    )
    simulate.add_argument(
        "--spacing",
        type=common.number("a voxel size in mm"),
        default=1.5,
        help="T1 voxel size in mm",
    )
    simulate.add_argument("--heads", type=Path, help="folder of whole-head label maps")
    simulate.add_argument("--lesion-masks", type=Path, help="folder of lesion masks in MNI space")
    simulate.add_argument("--stroke-masks", type=Path, help="folder of stroke masks in MNI space")
    simulate.add_argument(
        "--sequences",
        nargs="+",
        choices=POSSIBLE_SEQUENCES,
        default=SIMULATED_SEQUENCES,
        help="default: T1 T2",
    )
    simulate.add_argument("--seed", type=common.whole_number(0), default=0)
    atlas = commands.add_parser(
        "atlas", help="check a copy of SRI24's T1 (with or without skull) and put it into DAL_HOME"
    )
    atlas.add_argument("--from", dest="file", type=Path, required=True, metavar="FILE")
    for command in (check, simulate):
        common.add_workers(command)
    for command in (listing, check, simulate, atlas):
        common.add_common(command)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    from dal_auto.cli.commands import datasets

    return datasets.run(options)
