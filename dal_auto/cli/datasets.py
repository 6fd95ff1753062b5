"""``dal_datasets``: what is known, what is on disk, and a simulated cohort."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.datasets.registry import find_dataset, known_datasets
from dal_auto.datasets.simulate import cohort_tasks, describe_cohort, simulate_subject
from dal_auto.errors import DalError
from dal_auto.preprocessing.fingerprint import fingerprint_dataset
from dal_auto.workers import run_tasks

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_datasets",
        description="List known datasets, check one on disk, or simulate a cohort.",
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
    simulate.add_argument("--healthy", type=int, default=24, help="healthy subjects (default: 24)")
    simulate.add_argument("--lesioned", type=int, default=6, help="lesioned ones (default: 6)")
    simulate.add_argument("--spacing", type=float, default=1.5, help="T1 voxel size in mm")
    simulate.add_argument("--heads", type=Path, help="folder of whole-head label maps")
    simulate.add_argument("--lesion-masks", type=Path, help="folder of lesion masks in MNI space")
    simulate.add_argument("--seed", type=int, default=0)
    for command in (listing, check, simulate):
        common.add_workers(command)
        common.add_common(command)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    return {"list": _list, "check": _check, "simulate": _simulate}[options.command](options)


def _list(options: argparse.Namespace) -> int:
    for line in known_datasets(paths.raw()).to_string(index=False).splitlines():
        logger.info(line)
    return 0


def _check(options: argparse.Namespace) -> int:
    dataset = find_dataset(options.dataset, paths.raw())
    found = fingerprint_dataset(dataset.name, dataset.cases, workforce=common.workforce(options))
    for line in found.summary():
        logger.info(line)
    return common.report_failures([f"{c.case_id}: {c.finding}" for c in found.cases if c.finding])


def _simulate(options: argparse.Namespace) -> int:
    tasks = cohort_tasks(
        paths.raw(),
        n_healthy=options.healthy,
        n_lesioned=options.lesioned,
        seed=options.seed,
        heads=options.heads,
        lesion_masks=options.lesion_masks,
        spacing_mm=options.spacing,
    )
    describe_cohort(tasks)
    outcomes = run_tasks(
        simulate_subject,
        tasks,
        [task.subject for task in tasks],
        workforce=common.workforce(options),
        title="simulate",
    )
    return common.report_failures([f"{n}: {o}" for n, o in outcomes if isinstance(o, DalError)])
