"""``dal_train``: train DAL, or another method, on a healthy dataset."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import pandas as pd

from dal_auto.cli import common, planning
from dal_auto.errors import UsageError
from dal_auto.figures.curves import training_curves
from dal_auto.figures.png import save_png
from dal_auto.inference.runs import Run
from dal_auto.plans import parse_assignment
from dal_auto.preprocessing.planner import Hardware
from dal_auto.training.run import plan_training, train

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_train",
        description="Train on a preprocessed healthy dataset. Without options: DAL on IXI, in the "
        "largest configuration that fits the device. Run it again to resume.",
        example="dal_train -d IXI -c paper --seeds 0,1,2",
    )
    parser.add_argument("-d", metavar="DATASET", help="training set (default: IXI)")
    parser.add_argument("-c", metavar="CONFIG", help="paper, fullres, small or demo")
    parser.add_argument("-m", metavar="METHOD", help="method (default: DAL)")
    parser.add_argument("--preset", choices=("robust", "paper"), help="default: robust")
    parser.add_argument("--sequences", nargs="+", metavar="SEQ", help="default: T1 T2")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value of the plans, e.g. training.steps=500",
    )
    planning.add_planning(parser)
    common.add_seeds(parser, "0")
    common.add_device(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    from_file = planning.plans_file(options)

    run = plan_training(
        planning.settled("-d", options.d, from_file, "training_set", "IXI"),
        wishes=planning.wishes_of(
            from_file,
            sequences=options.sequences,
            configuration=options.c,
            method=options.m,
            preset=options.preset,
            assignments=dict(parse_assignment(text) for text in options.set),
        ),
        hardware=planning.hardware_of(options, options.device),
    )
    for warning in run.warnings:
        logger.warning("warning: %s", warning)
    if options.plan_only:
        for line in planning.plans_table(run):
            logger.info(line)
        return 0
    device = Hardware.measure(options.device).device
    if options.device_memory is not None and run.hardware.kind != device.split(":")[0]:
        raise UsageError(
            f"--device-memory plans for {run.hardware.device}, and this machine would train on "
            f"{device}: add --plan-only to see the plans, or --device {device}"
        )
    logger.info(
        "%s on %s, configuration %s (%s)",
        run.plans.method.name,
        run.plans.training_set,
        run.plans.configuration.name,
        run.plans.value_sources["configuration.name"],
    )
    for seed in options.seeds:
        trained = train(run.plans, overrides=run.overrides, seed=seed, device=device)
        _draw(trained)
        logger.info("trained: %s", trained.folder)
    return 0


def _draw(run: Run) -> None:
    """The loss curves, for those who would rather look than read."""
    log = run.folder / "log.jsonl"
    if log.is_file():
        figure = training_curves(pd.read_json(log, lines=True))
        save_png(figure, run.folder / "training.png")
