"""``dal_models``: which models there are, and models as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dal_auto.cli import common


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_models",
        description="List the models that dal_predict can use, write one as a file with its card, "
        "give it the thresholds of your own healthy cases, or take such a file over. Nothing is "
        "ever downloaded.",
        example="dal_models export -r Simulated/DAL -o mine.safetensors",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=argparse.ArgumentParser
    )
    listing = commands.add_parser("list", help="the shipped model, and the runs in DAL_RESULTS")
    export = commands.add_parser("export", help="write a trained model as FILE.safetensors + .json")
    calibrate = commands.add_parser(
        "calibrate",
        help="write a model with practical thresholds of your own healthy cases",
        description="The practical thresholds of a model, anew: what a small share of the brain "
        "voxels of a preprocessed dataset's healthy cases exceeds (scoring.false_positive_rate).",
    )
    for command in (export, calibrate):
        command.add_argument("-r", metavar="RUN", help="a run: its folder, or a part of its name")
        command.add_argument("-m", metavar="METHOD", help="method, where runs of several exist")
        command.add_argument(
            "-o", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
        )
        command.add_argument("--name", help="the model's name on its card (default: the run's)")
    calibrate.add_argument(
        "-d", required=True, nargs="+", metavar="DATASET", help="preprocessed, with healthy cases; "
        "of several, such as one for each scanner, the highest threshold counts",
    )  # fmt: skip
    common.add_device(calibrate)
    install = commands.add_parser("install", help="put a model file among the runs in DAL_RESULTS")
    install.add_argument("file", type=Path, metavar="FILE", help="a .safetensors file; its card "
                         "(.json) lies beside it")  # fmt: skip
    for command in (listing, export, calibrate, install):
        common.add_common(command)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    from dal_auto.cli.commands import models

    return models.run(options)
