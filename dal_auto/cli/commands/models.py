"""``dal_models``: list models, write one as a file, calibrate it, take one over."""

from __future__ import annotations

import argparse
import logging

from dal_auto import paths
from dal_auto.cli.table import show, table, terminal_width
from dal_auto.store.model_files import SHIPPED, ModelFile, choose_model, shipped_model
from dal_auto.store.runs import complete_runs

logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    actions = {"list": _list, "export": _export, "calibrate": _calibrate, "install": _install}
    return actions[options.command](options)


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

    _tell(pack(choose_model(options.m, options.r), options.o, name=options.name))
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from dal_auto.inference.model import check_atlas
    from dal_auto.inference.packing import require_model_name, write_model
    from dal_auto.methods.checkpoint import load_checkpoint, threshold_sequence
    from dal_auto.planning.hardware import Hardware
    from dal_auto.preprocessing.same_chain import check_chain
    from dal_auto.preprocessing.stored import case_records
    from dal_auto.training.calibration import recalibrated

    require_model_name(options.o)
    source = choose_model(options.m, options.r)
    before = load_checkpoint(source.checkpoint_path)
    check_atlas(before)
    for dataset in options.d:
        check_chain(dataset, before.plans.preprocessing)
    device = Hardware.measure(options.device).device
    records = {dataset: case_records(dataset) for dataset in options.d}
    found = recalibrated(before, records, device)
    for title, old, new in (
        ("threshold of", before.thresholds, found.thresholds),
        ("joint threshold of", before.joint_thresholds, found.joint_thresholds),
    ):
        for name, value in new.items():
            was = f"was {old[name]:.4g}" if name in old else "had none"
            if threshold_sequence(name) in found.older:
                was = "as before"
            logger.info("%s %s: %.4g (%s)", title, name, value, was)
    _tell(write_model(found, options.o, options.name or str(source)))
    return 0


def _tell(model: ModelFile) -> None:
    card = model.card()
    logger.info(
        "%s: %.1f MB in %s precision; card: %s",
        model.checkpoint_path, card.size_bytes / 1e6, card.precision, model.card_path,
    )  # fmt: skip


def _install(options: argparse.Namespace) -> int:
    from dal_auto.inference.packing import install

    run = install(ModelFile(options.file))
    logger.info("installed; use it with `dal_predict -r %s`", run)
    return 0
