"""``dal_models``: which models there are, and models as files."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.cli.table import show, table, terminal_width
from dal_auto.store.model_files import SHIPPED, ModelFile, choose_model, shipped_model
from dal_auto.store.runs import complete_runs

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_models",
        description="List the models that dal_predict can use, write one as a file with its card, "
        "or take such a file over. Nothing is ever downloaded.",
        example="dal_models export -r Simulated/DAL -o mine.safetensors",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=argparse.ArgumentParser
    )
    listing = commands.add_parser("list", help="the shipped model, and the runs in DAL_RESULTS")
    export = commands.add_parser("export", help="write a trained model as FILE.safetensors + .json")
    export.add_argument("-r", metavar="RUN", help="a run: its folder, or a part of its name")
    export.add_argument("-m", metavar="METHOD", help="method, where runs of several exist")
    export.add_argument(
        "-o", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    export.add_argument("--name", help="the model's name on its card (default: the run's)")
    install = commands.add_parser("install", help="put a model file among the runs in DAL_RESULTS")
    install.add_argument("file", type=Path, metavar="FILE", help="a .safetensors file; its card "
                         "(.json) lies beside it")  # fmt: skip
    for command in (listing, export, install):
        common.add_common(command)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    run = {"list": _list, "export": _export, "install": _install}
    return run[options.command](options)


def _list(options: argparse.Namespace) -> int:
    header = ["dal_predict -r", "sequences", "voxel", "steps", "what"]
    model, rows = shipped_model(), []
    if model is not None:
        card = model.card()
        size = f"{card.size_bytes / 1e6:.1f} MB, trained on {card.training_set}"
        rows.append(
            [SHIPPED, " ".join(card.sequences), f"{card.spacing_mm[0]:g} mm", card.steps, size]
        )
    else:
        show(["This version of dal_auto comes without a model."])
    for run in complete_runs():
        rows.append([str(run), "", "", "", f"in {paths.results()}"])
    for block in table(header, rows, terminal_width()):
        show(block)
    return 0


def _export(options: argparse.Namespace) -> int:
    from dal_auto.inference.packing import pack  # torch takes seconds to import

    model = pack(choose_model(options.m, options.r), options.o, name=options.name)
    card = model.card()
    logger.info(
        "%s: %.1f MB in %s precision; card: %s",
        model.checkpoint_path, card.size_bytes / 1e6, card.precision, model.card_path,
    )  # fmt: skip
    return 0


def _install(options: argparse.Namespace) -> int:
    from dal_auto.inference.packing import install

    run = install(ModelFile(options.file))
    logger.info("installed; use it with `dal_predict -r %s`", run)
    return 0
