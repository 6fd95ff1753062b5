"""``dal_datasets``: list and check datasets, simulate a cohort, take over the atlas."""

from __future__ import annotations

import argparse
import logging

from dal_auto import paths
from dal_auto.cli import common
from dal_auto.cli.table import show, table, terminal_width, wrap
from dal_auto.datasets.listing import known_datasets
from dal_auto.datasets.overlap import Overlap, find_overlap
from dal_auto.datasets.registry import Dataset, look_up
from dal_auto.datasets.simulate import cohort_tasks, describe_cohort, simulate_subject
from dal_auto.errors import DalError
from dal_auto.preprocessing.atlas_install import install_atlas, installed_path
from dal_auto.preprocessing.checks.run import (
    CheckLine,
    check_dataset,
    has_errors,
    saved_fingerprints,
    write_check,
)
from dal_auto.preprocessing.fingerprint.dataset import fingerprint_dataset
from dal_auto.workers import run_tasks

logger = logging.getLogger(__name__)

_IDS_SHOWN = 4
_COLUMNS = ["dataset", "role", "found", "expected", "patients", "masks", "sequences"]


def run(options: argparse.Namespace) -> int:
    actions = {"list": _list, "check": _check, "simulate": _simulate, "atlas": _atlas}
    return actions[options.command](options)


def _list(options: argparse.Namespace) -> int:
    """One line of figures per dataset; below it licence and page, and what is odd."""
    rows = known_datasets(paths.raw()).to_dict("records")
    width = terminal_width()
    header, *blocks = table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows], width)
    show([f"in {paths.raw().resolve()}:", "", *header])
    for row, block in zip(rows, blocks, strict=True):
        where = "  ".join(text for text in (row["url"], row["licence"]) if text)
        show([*block, *wrap(where, width, "    "), *wrap(row["remarks"], width, "    ! ")])
    return 0


def _check(options: argparse.Namespace) -> int:
    dataset = look_up(options.dataset, paths.raw())
    show(_heading(dataset))
    fingerprint = fingerprint_dataset(
        dataset.name, dataset.cases, workforce=common.workforce(options)
    )
    folder = paths.preprocessed() / dataset.name
    fingerprint.save(folder / "fingerprint.json")
    lines = check_dataset(
        dataset,
        fingerprint,
        others=saved_fingerprints(paths.preprocessed(), but=dataset.name),
        overlap=_overlap(dataset),
    )
    write_check(folder, lines)
    show([*fingerprint.summary(), ""])
    cells = [[x.number, x.check, x.level, len(x.cases) or "", _details(x)] for x in lines]
    header = ["#", "check", "", "cases", "finding"]
    for block in table(header, cells, terminal_width()):
        show(block)
    errors, warned = (sum(line.level == level for line in lines) for level in ("error", "warning"))
    logger.info("%d errors, %d warnings; every case: %s", errors, warned, folder / "check.csv")
    return 1 if has_errors(lines) else 0


def _heading(dataset: Dataset) -> list[str]:
    record = dataset.record
    if record is None:
        return [f"{dataset.name}: {dataset.root}, read as {dataset.kind}", ""]
    return [
        f"{dataset.name}: {record.title}",
        f"  on disk  {dataset.root}",
        f"  page     {record.access.url}",
        f"  licence  {record.access.licence}",
        *(f"  cite     {text}" for text in record.citation),
        *(line for note in record.notes for line in wrap(note, terminal_width(), "  note     ")),
        "",
    ]


def _overlap(dataset: Dataset) -> Overlap | None:
    """What is known of shared scans, for the datasets that have them."""
    if dataset.record is None or not dataset.record.overlaps:
        return None
    try:
        return find_overlap(paths.raw())
    except DalError as error:
        logger.warning("the overlap with other datasets cannot be told: %s", error)
        return None


def _details(line: CheckLine) -> str:
    """The finding, the first cases with what was found, and what to do."""
    shown = [f"{i}: {words}" if words else i for i, words in list(line.cases.items())[:_IDS_SHOWN]]
    further = len(line.cases) - len(shown)
    if further:
        shown.append(f"and {further} more")
    return "\n".join([line.title, *shown, *([f"→ {line.remedy}"] if line.remedy else [])])


def _atlas(options: argparse.Namespace) -> int:
    atlas = install_atlas(options.file)
    logger.info("%s is now in %s", atlas.name, installed_path())
    return 0


def _simulate(options: argparse.Namespace) -> int:
    tasks = cohort_tasks(
        paths.raw(),
        n_healthy=options.healthy,
        n_lesioned=options.lesioned,
        seed=options.seed,
        heads=options.heads,
        lesion_masks=options.lesion_masks,
        stroke_masks=options.stroke_masks,
        sequences=options.sequences,
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
