"""``dal_plan_and_preprocess``: bring datasets to standard cases, and plan what to train on them."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.cli.commands import planning
from dal_auto.datasets.drawn import is_drawn
from dal_auto.datasets.registry import datasets_on_disk, find_dataset, record_of
from dal_auto.errors import DalError, DiskFull, PlansError, UsageError, did_you_mean
from dal_auto.planning.training_plans import plan_run
from dal_auto.planning.wishes import Wishes
from dal_auto.plans import Plans, PreprocessingPlan, parse_assignment
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.run import preprocess_dataset
from dal_auto.preprocessing.steps import brain_size, brain_size_line
from dal_auto.preprocessing.stored import case_records, folder_of, load_decisions
from dal_auto.store.atomic import write_json
from dal_auto.store.standard_cases import CaseRecord, healthy_records
from dal_auto.training.drawn.dataset import SIMULATED, prepare_simulated

logger = logging.getLogger(__name__)

#: What is planned for, where the cases have it.
_SEQUENCES = ("T1", "T2", "FLAIR")


def run(options: argparse.Namespace) -> int:
    from_file = planning.plans_file(options)
    plan = None if options.plan_only else _chain(options, from_file)
    names = options.d
    if names == ["ALL"]:
        names = _preprocessed() if options.plan_only else datasets_on_disk(paths.raw())
    failures: list[str] = []
    for name in names:
        try:
            if plan is None:
                _plan(name, options, from_file)
            else:
                failures += _preprocess(name, plan, options, from_file)
        except DiskFull:
            raise  # the next dataset would find no room either
        except DalError as error:
            if len(names) == 1:
                raise
            failures.append(f"{name}: {error}")
            logger.error(failures[-1])
    return common.report_failures(failures)


def _chain(options: argparse.Namespace, from_file: Mapping[str, Any]) -> PreprocessingPlan:
    """The preprocessing section: ours, then the file's, then ``--set``."""
    prefix = "preprocessing."
    atlas = load_atlas()
    content = PreprocessingPlan().model_dump(mode="json")
    content |= {"atlas": atlas.name, "atlas_sha256": atlas.sha256}
    content |= {k.removeprefix(prefix): v for k, v in from_file.items() if k.startswith(prefix)}
    for key, value in map(parse_assignment, options.set):
        content[key.removeprefix(prefix)] = value
    for key, there in (("atlas", atlas.name), ("atlas_sha256", atlas.sha256)):
        if content[key] != there:
            rule = f"the atlas that was found here is {atlas.name}: its {key} is {there}"
            raise PlansError(f"{prefix}{key}", content[key], rule)
    if options.skull_strip is not None:
        content["skull_strip"] = options.skull_strip
    return PreprocessingPlan.parse(content, "preprocessing")


def _preprocess(
    name: str,
    plan: PreprocessingPlan,
    options: argparse.Namespace,
    from_file: Mapping[str, Any],
) -> list[str]:
    if is_drawn(name):
        return _draw(plan, options, from_file)
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
    if summary.done or summary.kept:
        _plan(dataset.name, options, from_file)
    logger.info("look at the cases: %s", folder_of(dataset.name) / "quality.html")
    return summary.failures


def _draw(
    plan: PreprocessingPlan, options: argparse.Namespace, from_file: Mapping[str, Any]
) -> list[str]:
    """The drawn dataset: heads, fixed cases, plans, and anatomies on the grid of the plans."""
    summary = prepare_simulated(paths.raw(), plan, workforce=common.workforce(options))
    logger.info(
        "%s: %d heads done, %d kept from before, %d failed",
        SIMULATED,
        len(summary.done),
        len(summary.kept),
        len(summary.failures),
    )
    if summary.done or summary.kept:
        _plan(SIMULATED, options, from_file)
    return summary.failures


def _plan(name: str, options: argparse.Namespace, from_file: Mapping[str, Any]) -> None:
    """Say how large the brains are; where the cases can be trained on, write and show the plans."""
    records, plan = case_records(name), load_decisions(name).preprocessing
    if options.plan_only:
        _require_as_preprocessed(name, plan, options)
    brains = [r.quality["brain_ml"] for r in records if "brain_ml" in r.quality]
    if brains:
        logger.info("%s: %s", name, brain_size_line(brain_size(brains), plan))
    record = record_of(name, paths.raw())
    if record is not None and record.role != "training":
        logger.info("%s: no training is planned: it is a test set (%s)", name, record.title)
        return
    sequences = _sequences(healthy_records(records))
    if not sequences:
        logger.info(
            "%s: no training is planned: of its %d cases none without a lesion mask has a %s",
            name,
            len(records),
            " or ".join(_SEQUENCES),
        )
        return
    of_dataset = ("training_set", "sequences")
    run = plan_run(
        training_set=name,
        preprocessing=plan,
        records=records,
        hardware=planning.hardware_of(options),
        wishes=planning.wishes_of(
            {key: value for key, value in from_file.items() if key not in of_dataset},
            sequences=sequences,
            assignments=dict(map(parse_assignment, options.set)) if options.plan_only else {},
        ),
    )
    command = f"dal_train -d {name}"
    if sequences != Wishes().sequences:
        command += f" --sequences {' '.join(sequences)}"
        sources = run.plans.value_sources | {"sequences": "measured: what healthy cases have"}
        run = replace(run, plans=run.plans.model_copy(update={"value_sources": sources}))
    for warning in run.warnings:
        logger.warning("warning: %s", warning)
    if options.device_memory is None:
        write_json(folder_of(name) / "plans.json", run.plans.to_json())
    if options.plan_only or options.verbose:
        logger.info("plans for `%s` (its options choose again):", command)
        for line in planning.plans_table(run):
            logger.info(line)
        return
    logger.info("plans: %s", planning.plans_line(run))
    logger.info("to see every value and its source: %s --plan-only", command)
    logger.info("to train: %s", command)


def _require_as_preprocessed(
    name: str, plan: PreprocessingPlan, options: argparse.Namespace
) -> None:
    """With --plan-only: values are of known sections, and of the chain that the cases went through.

    Raises
    ------
    UsageError, PlansError
        for the first that is not.
    """
    made = {f"preprocessing.{k}": v for k, v in plan.model_dump(mode="json").items()}
    asked = dict(map(parse_assignment, options.set))
    if options.skull_strip is not None:
        asked["preprocessing.skull_strip"] = options.skull_strip
    for key, value in asked.items():
        section = key.partition(".")[0]
        if section not in Plans.model_fields or (section == "preprocessing" and key not in made):
            near = did_you_mean(key, made) or did_you_mean(section, Plans.model_fields)
            raise PlansError(key, value, f"there is no such key.{near}")
        if key in made and made[key] != value:
            raise UsageError(
                f"{name} was preprocessed with {key}={made[key]!r}, not {value!r}: leave out "
                "--plan-only to preprocess it again"
            )


def _sequences(records: Sequence[CaseRecord]) -> tuple[str, ...]:
    """What would train: the most sequences that a healthy case has; of as many, the commonest."""
    counts = Counter(
        tuple(name for name in _SEQUENCES if name in record.sequences) for record in records
    )
    return max(counts, key=lambda names: (len(names), counts[names]), default=())


def _preprocessed() -> list[str]:
    """Datasets that have standard cases."""
    names = sorted(path.parent.name for path in paths.preprocessed().glob("*/preprocessing.json"))
    if not names:
        raise UsageError(f"no preprocessed dataset in {paths.preprocessed()}")
    return names
