"""``dal_train``: plan the run, and train its seeds."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence

from dal_auto import distributed
from dal_auto.cli.commands import planning
from dal_auto.errors import UsageError
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.wishes import PlannedRun
from dal_auto.plans import Plans, parse_assignment
from dal_auto.store.model_files import choose_model
from dal_auto.training.run import plan_training, train

logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    options.device = distributed.local_device(options.device)
    from_file = planning.plans_file(options)
    assignments = dict(parse_assignment(text) for text in options.set)
    if options.select_on is not None:
        assignments["training.select_on"] = options.select_on
    if options.pretrained is not None:
        model = choose_model(name=options.pretrained)
        assignments["training.pretrained"] = str(model.checkpoint_path)
        assignments["training.pretrained_sha256"] = model.checkpoint_sha256()

    run = plan_training(
        planning.settled("-d", options.d, from_file, "training_set", "IXI"),
        wishes=planning.wishes_of(
            from_file,
            sequences=options.sequences,
            configuration=options.c,
            method=options.m,
            preset=options.preset,
            assignments=assignments,
        ),
        hardware=planning.hardware_of(options, options.device),
    )
    for warning in run.warnings:
        logger.warning("warning: %s", warning)
    if options.plan_only or options.verbose:
        for line in planning.plans_table(run):
            logger.info(line)
    if options.plan_only:
        return 0
    device = Hardware.measure(options.device).device
    if options.device_memory is not None and run.hardware.kind != device.split(":")[0]:
        raise UsageError(
            f"--device-memory plans for {run.hardware.device}, and this machine would train on "
            f"{device}: add --plan-only to see the plans, or --device {device}"
        )
    with distributed.group(device):
        return _train(run, options.seeds, device)


def _train(run: PlannedRun, seeds: Sequence[int], device: str) -> int:
    if distributed.rank() != 0:
        logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
    # GPUs may differ a little in memory: all processes take the first one's plans.
    plans = Plans.parse(json.loads(distributed.told(json.dumps(run.plans.to_json()), device)))
    logger.info(
        "%s on %s, configuration %s (%s)%s",
        plans.method.name,
        plans.training_set,
        plans.configuration.name,
        plans.value_sources["configuration.name"],
        f", {distributed.world_size()} processes" if distributed.is_distributed() else "",
    )
    for seed in seeds:
        trained = train(plans, overrides=run.overrides, seed=seed, device=device)
        logger.info("trained: %s", trained.folder)
    return 0
