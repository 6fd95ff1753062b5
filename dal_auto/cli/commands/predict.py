"""``dal_predict``: find the scans, choose the model, write the maps."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace

from dal_auto.case import RawCase
from dal_auto.choices import SEGMENTATION
from dal_auto.cli import common
from dal_auto.datasets.scans import find_scans, require_apart
from dal_auto.errors import UsageError
from dal_auto.images.dicom_seg import require_highdicom
from dal_auto.inference.run import predict_cases
from dal_auto.planning.hardware import Hardware
from dal_auto.store.claim import claimed
from dal_auto.store.model_files import SHIPPED, ModelFile, choose_model
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)


def _require_series(cases: Sequence[RawCase]) -> None:
    """DICOM SEG needs the series that it refers to, and its library.

    Raises
    ------
    UsageError, MissingDependency
        if one of them is not there.
    """
    if without := [case.case_id for case in cases if set(case.sequences) - set(case.dicom)]:
        raise UsageError(
            f"--save {SEGMENTATION} wants scans that come as DICOM, and {without[0]} does not: "
            "name the DICOM folder with -i, or leave it out"
        )
    require_highdicom()


def _claimed(case: RawCase, stripped: bool) -> RawCase:
    return replace(case, claims=replace(case.claims, stripped=stripped))


def run(options: argparse.Namespace) -> int:
    model = choose_model(options.m, options.r)
    require_apart(options.i, options.o)
    with claimed(options.o, "Name another with -o."):
        return _predict(options, model)


def _predict(options: argparse.Namespace, model: Run | ModelFile) -> int:
    cases = find_scans(options.i, options.o, options.sequence)
    if options.stripped is not None:
        cases = [_claimed(case, options.stripped == "yes") for case in cases]
    whose = "your own run" if isinstance(model, Run) else "a model file"
    whose = "it comes with dal_auto" if str(model) == SHIPPED else whose
    if SEGMENTATION in options.save:
        _require_series(cases)
    found = f"{len(cases)} case{'s' if len(cases) != 1 else ''}"
    logger.info("%s; model: %s (%s)", found, model, whose)
    summary = predict_cases(
        cases,
        options.o,
        model,
        device=Hardware.measure(options.device).device,
        save=options.save,
        threshold=options.threshold,
        workforce=common.workforce(options, one_here=True),
        resume=options.resume,
        layout=options.layout,
    )
    logger.info(
        "%d case%s done, %d kept from before, %d failed; table: %s",
        len(summary.done),
        "s" if len(summary.done) != 1 else "",
        len(summary.kept),
        len(summary.failures),
        options.o / "cases.csv",
    )
    logger.info("look at the maps: %s", options.o / "index.html")
    code = common.report_failures(summary.failures)
    if (written := len(summary.done) + len(summary.kept)) != len(cases):
        logger.error("%d of %d cases have maps", written, len(cases))
        return 1
    return code
