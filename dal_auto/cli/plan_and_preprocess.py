"""``dal_plan_and_preprocess``: fingerprint, plans, standard cases."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from dal_auto import paths
from dal_auto.atomic import write_json
from dal_auto.cli import common
from dal_auto.datasets.registry import datasets_on_disk, find_dataset
from dal_auto.errors import DalError
from dal_auto.plans import Plans, PreprocessingPlan, parse_assignment
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.planner import Hardware, plan_run
from dal_auto.preprocessing.run import folder_of, preprocess_dataset
from dal_auto.standard_files import CaseRecord, read_records

logger = logging.getLogger(__name__)


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
    common.add_workers(parser)
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    atlas = load_atlas()
    content = PreprocessingPlan().model_dump(mode="json")
    content |= {"atlas": atlas.name, "atlas_sha256": atlas.sha256}
    for key, value in map(parse_assignment, options.set):
        content[key.removeprefix("preprocessing.")] = value
    plan = PreprocessingPlan.parse(content, "preprocessing")
    names = datasets_on_disk(paths.raw()) if options.d == ["ALL"] else options.d
    failures: list[str] = []
    for name in names:
        try:
            failures += _preprocess(name, plan, options)
        except DalError as error:
            if len(names) == 1:
                raise
            failures.append(f"{name}: {error}")
            logger.error(failures[-1])
    return common.report_failures(failures)


def _preprocess(name: str, plan: PreprocessingPlan, options: argparse.Namespace) -> list[str]:
    dataset = find_dataset(name, paths.raw())
    _, summary = preprocess_dataset(dataset, plan, workforce=common.workforce(options))
    for warning in summary.warnings:
        logger.warning("warning: %s", warning)
    logger.info(
        "%s: %d cases done, %d kept from before, %d failed",
        dataset.name,
        len(summary.done),
        len(summary.kept),
        len(summary.failures),
    )
    folder = folder_of(dataset.name)
    healthy = [r for r in read_records(folder / "cases") if not r.has_lesion_mask]
    sequences = _paired_sequences(healthy)
    for_training = dataset.record is None or dataset.record.role == "training"
    if sequences and for_training:
        plans = plan_run(
            training_set=dataset.name,
            preprocessing=plan,
            records=healthy,
            hardware=Hardware.measure(),
            sequences=sequences,
        )
        write_json(folder / "plans.json", plans.to_json())
        _print_plans(plans)
    logger.info("look at the cases: %s", folder / "quality.html")
    return summary.failures


def _paired_sequences(records: Sequence[CaseRecord]) -> tuple[str, ...]:
    """T1 and T2 as far as any healthy case has them: what a training would use."""
    found = {name for record in records for name in record.sequences}
    return tuple(name for name in ("T1", "T2") if name in found)


def _print_plans(plans: Plans) -> None:
    """The plans as a table: key, value, source."""
    logger.info(
        "plans for training on %s (chosen again by dal_train's options):", plans.training_set
    )
    for key, value, source in plans.flat():
        text = str(value)
        shown = text if len(text) <= 40 else f"{text[:37]}…"
        logger.info("  %-42s %-40s %s", key, shown, source)
