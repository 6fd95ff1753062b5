"""The one trainer for all methods with gradients: Adam, AMP, checkpoints, exact resume.

What a step does is a function of (plans, seed, step, weights, optimiser): random numbers are seeded
at every step and batches are drawn from (seed, step). A run that is killed and started again ends
with the weights of one that was not.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dal_auto.atomic import write_text
from dal_auto.errors import DalError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.method import GradientMethod
from dal_auto.training.cohort import Cohort, batches
from dal_auto.training.validation import validate

logger = logging.getLogger(__name__)

#: Losses stay on the device this many steps, so that it never waits for a number to be printed.
_LOG_EVERY = 10


class TrainingFailed(DalError):
    """Training cannot go on; the last good checkpoint is kept."""


@dataclass
class Trainer:
    """State of one run.

    Parameters
    ----------
    method : trained in place
    training, validation : cohorts; without validation cases the last weights are the best
    folder : where checkpoints and log go
    """

    method: GradientMethod
    training: Cohort
    validation: Cohort
    seed: int
    device: str
    folder: Path
    step: int = 0
    best_value: float = float("inf")
    _log: list[dict[str, Any]] = field(default_factory=list)
    _pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plans = self.method.plans
        self.method.to(self.device)
        self.optimiser = torch.optim.Adam(
            self.method.network.parameters(), lr=self.plans.training.learning_rate
        )
        cuda = self.device.startswith("cuda")
        self.amp = self.plans.training.amp and cuda
        self.amp_dtype = (
            torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float16
        )
        self.scaler = torch.amp.GradScaler(
            "cuda", enabled=self.amp and self.amp_dtype == torch.float16
        )

    @property
    def last_path(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def best_path(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.jsonl"

    def resume(self) -> bool:
        """Go on from ``last.safetensors``, if there is one."""
        if not self.last_path.is_file():
            return False
        checkpoint = load_checkpoint(self.last_path)
        self.method.load_tensors(checkpoint.tensors)
        _restore_optimiser(self.optimiser, checkpoint.optimiser, self.device)
        self.step = checkpoint.step
        best = checkpoint.progress["best_value"]
        self.best_value = float("inf") if best is None else best
        self.scaler.load_state_dict(checkpoint.progress["scaler"])
        if self.log_path.is_file():
            lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
            # Lines written after the checkpoint belong to steps that are about to be taken again.
            self._log = [line for line in lines if line["step"] <= self.step]
        logger.info("resumed at step %d", self.step)
        return True

    def run(self) -> None:
        """Train up to the plans' number of steps."""
        steps = self.plans.training.steps
        stream = batches(self.training, self.seed, self.step, self.device)
        images_per_step = self.plans.configuration.batch_subjects * len(self.plans.sequences)
        with (
            SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step) as board,
            tqdm(
                total=steps, initial=self.step, desc="train", unit="step", dynamic_ncols=True
            ) as bar,
        ):
            while self.step < steps:
                losses = self._take_step(next(stream).to(self.device))
                self.step += 1
                bar.update()
                self._pending.append((self.step, losses))
                due = self.step % self.plans.training.checkpoint_every == 0 or self.step == steps
                if due or len(self._pending) >= _LOG_EVERY:
                    values = self._flush(board)
                    rate = bar.format_dict["rate"]
                    speed = f"{rate * images_per_step:.1f}" if rate else "?"
                    bar.set_postfix_str(f"loss {values['loss']:.4f}, {speed} images/s")
                if due:
                    self._checkpoint(board)

    def _take_step(self, batch: Any) -> dict[str, Tensor]:
        self.method.network.train()
        torch.manual_seed(1_000_003 * self.seed + self.step)
        with torch.autocast(self.device.split(":")[0], self.amp_dtype, enabled=self.amp):
            losses = self.method.training_step(batch, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses["loss"]).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return {name: value.detach() for name, value in losses.items()}

    def _flush(self, board: SummaryWriter) -> dict[str, float]:
        """Bring the pending losses from the device into the log."""
        values: dict[str, float] = {}
        for step, losses in self._pending:
            values = {name: float(value) for name, value in losses.items()}
            self._require_finite(step, values)
            self._log.append({"step": step, **values})
            for name, value in values.items():
                board.add_scalar(f"loss/{name}", value, step)
        self._pending.clear()
        return values

    def _require_finite(self, step: int, losses: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, losses.values())):
            raise TrainingFailed(
                f"a loss is not finite at step {step}: {losses}. {self.last_path} holds the last "
                "good weights; lower training.learning_rate, or set training.amp=false."
            )

    def _checkpoint(self, board: SummaryWriter) -> None:
        """Validate, then write the log, the best and the last checkpoint, in this order."""
        figures = validate(self.method, self.validation, self.training, self.device)
        # The step's own loss was taken before its weights: only now would they show as spoilt.
        self._require_finite(self.step, {"validation loss": figures["loss"]})
        for name, value in figures.items():
            board.add_scalar(f"validation/{name}", value, self.step)
        self._log[-1] |= {f"val_{name}": value for name, value in figures.items()}
        in_warm_start = "warm_start" in self._log[-1]
        if not in_warm_start:
            for warning in self.method.warnings(figures):
                logger.warning("step %d: %s", self.step, warning)
        write_text(self.log_path, "".join(json.dumps(line) + "\n" for line in self._log))
        is_last = self.step == self.plans.training.steps
        if not in_warm_start and (figures["loss"] < self.best_value or len(self.validation) == 0):
            self.best_value = figures["loss"]
            save_checkpoint(self.best_path, self.snapshot(with_optimiser=False))
        elif is_last and not self.best_path.is_file():
            save_checkpoint(self.best_path, self.snapshot(with_optimiser=False))
        save_checkpoint(self.last_path, self.snapshot(with_optimiser=True))

    def snapshot(self, *, with_optimiser: bool) -> Checkpoint:
        """The run as it stands."""
        finite = self.best_value if self.best_value < float("inf") else None
        return Checkpoint(
            plans=self.plans,
            tensors=self.method.tensors(),
            step=self.step,
            optimiser=_optimiser_tensors(self.optimiser) if with_optimiser else {},
            progress={
                "best_value": finite,
                "seed": self.seed,
                "scaler": self.scaler.state_dict(),
            },
        )


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and counters as flat tensors: ``<parameter index>.<name>``."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: str
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    content = optimiser.state_dict()
    content["state"] = state
    optimiser.load_state_dict(content)
