"""What `test_distributed` starts under torchrun, or alone: gradients of some steps, to a file.

two_processes.py PLANS CASES STEPS OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from dal_auto import distributed
from dal_auto.methods.method import Batch
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.store.standard_cases import read_records
from dal_auto.training.cohort import cohort_of
from dal_auto.training.loading import Share, batches
from dal_auto.training.optimisation import Optimiser

SEED = 3


def main(plans_path: str, dataset: str, steps: str, out: str) -> None:
    torch.set_num_threads(1)
    plans = Plans.parse(json.loads(Path(plans_path).read_text()))
    cohort = cohort_of(Path(dataset), read_records(Path(dataset) / "cases"), plans)
    with distributed.group("cpu"):
        torch.manual_seed(0)
        method = find_method(plans.method.name)(plans)
        # In double precision, so that rounding does not hide a difference.
        method.network.double()
        optimiser = Optimiser(method, "cpu")
        share = Share(distributed.rank(), distributed.world_size())
        stream = batches(cohort, SEED, 0, "cpu", share)
        kept = {}
        for step in range(int(steps)):
            micro = [doubled(next(stream)) for _ in range(plans.training.accumulation)]
            losses = optimiser.step(micro, step, SEED)
            for name, value in losses.items():
                kept[f"{step}.loss.{name}"] = distributed.mean(value)
            for name, parameter in method.network.named_parameters():
                if parameter.grad is not None:
                    kept[f"{step}.gradient.{name}"] = parameter.grad.clone().contiguous()
        if distributed.rank() == 0:
            save_file(kept, out)


def doubled(batch: Batch) -> Batch:
    return Batch(batch.images.double(), batch.brain_mask.double(), batch.present)


if __name__ == "__main__":
    main(*sys.argv[1:])
