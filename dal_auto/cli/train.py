"""``dal_train``: train DAL, or another method, on a healthy dataset."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import pandas as pd

from dal_auto.cli import common
from dal_auto.figures.curves import training_curves
from dal_auto.figures.png import save_png
from dal_auto.inference.runs import Run
from dal_auto.plans import parse_assignment
from dal_auto.training.run import plan_training, train

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_train",
        description="Train on a preprocessed healthy dataset. Without options: DAL on IXI, in the "
        "largest configuration that fits the device. Run it again to resume.",
        example="dal_train -d IXI -c paper --seeds 0,1,2",
    )
    parser.add_argument("-d", default="IXI", metavar="DATASET", help="training set (default: IXI)")
    parser.add_argument("-c", metavar="CONFIG", help="paper, fullres, small or demo")
    parser.add_argument("-m", default="DAL", metavar="METHOD", help="method (default: DAL)")
    parser.add_argument(
        "--preset", default="robust", choices=("robust", "paper"), help="default: robust"
    )
    parser.add_argument(
        "--sequences", nargs="+", default=["T1", "T2"], metavar="SEQ", help="default: T1 T2"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value of the plans, e.g. training.steps=500",
    )
    common.add_seeds(parser, "0")
    common.add_device(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    overrides = dict(parse_assignment(text) for text in options.set)
    plans, device = plan_training(
        options.d,
        sequences=tuple(options.sequences),
        configuration=options.c,
        method=options.m,
        preset=options.preset,
        overrides=overrides,
        device=options.device,
    )
    for seed in options.seeds:
        run = train(plans, overrides=overrides, seed=seed, device=device)
        _draw(run)
        logger.info("trained: %s", run.folder)
    return 0


def _draw(run: Run) -> None:
    """The loss curves, for those who would rather look than read."""
    log = run.folder / "log.jsonl"
    if log.is_file():
        figure = training_curves(pd.read_json(log, lines=True))
        save_png(figure, run.folder / "training.png")
