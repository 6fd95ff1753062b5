"""The one trainer for all methods with gradients: steps, checkpoints, exact resume.

What a step does follows from (plans, seed, step, weights, optimiser) alone. So a run that is killed
and started again ends with the weights of one that was not. Of several processes (``torchrun``) all
take steps, and the first alone validates and writes.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dal_auto import distributed
from dal_auto.errors import DalError
from dal_auto.methods.checkpoint import (
    Checkpoint,
    load_checkpoint,
    require_same_architecture,
    save_checkpoint,
)
from dal_auto.methods.method import GradientMethod
from dal_auto.training.best import Standing
from dal_auto.training.cohort import Cohort
from dal_auto.training.drawn.cohort import DrawnCohort
from dal_auto.training.loading import Share, batches
from dal_auto.training.log import Log
from dal_auto.training.malloc import keep_freed_memory
from dal_auto.training.optimisation import Optimiser
from dal_auto.training.pretrained import weights_taken_over
from dal_auto.training.selection import Selection, selection_precision
from dal_auto.training.tensorboard import Board
from dal_auto.training.validation import (
    beside_the_mean_brain,
    first_pair,
    mean_of_training,
    validate,
)
from dal_auto.workers.bars import progress

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
    training, validation : cohorts; with neither validation cases nor a selection the last weights
        are the best
    folder : where checkpoints and log go
    selection : images with lesions that choose among the checkpoints; without, the losses do
    drawn : draws the batches of every step, where they do not come from `training`
    selected_before : dataset → cases that chose the weights that it started from
    """

    method: GradientMethod
    training: Cohort
    validation: Cohort
    seed: int
    device: str
    folder: Path
    selection: Selection | None = None
    drawn: DrawnCohort | None = None
    step: int = 0
    standing: Standing = field(default_factory=Standing)
    selected_before: Mapping[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plans = self.method.plans
        self.method.to(self.device)
        if self.device == "cpu":
            keep_freed_memory()
        self.optimiser = Optimiser(self.method, self.device)
        self.log = Log(self.log_path)

    @property
    def judge(self) -> Selection | str | None:
        """What chooses the best weights; None where the last are taken for the best."""
        by_losses = self.plans.training.keep == "best" and len(self.validation) > 0
        return self.selection or ("losses" if by_losses else None)

    @cached_property
    def _mean_images(self) -> Tensor:
        return mean_of_training(self.training, self.device)

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
        """Go on from ``last.safetensors``, if there is one.

        Raises
        ------
        InputError
            if its weights are of another architecture.
        """
        if not self.last_path.is_file():
            return False
        checkpoint = load_checkpoint(self.last_path)
        require_same_architecture(self.method, checkpoint)
        self.method.load_tensors(checkpoint.tensors)
        self.optimiser.restore(checkpoint.optimiser, checkpoint.progress["scaler"])
        self.step = checkpoint.step
        self.standing = Standing.from_json(checkpoint.progress)
        self.selected_before = checkpoint.progress.get("selected_before", {})
        before, now = checkpoint.progress.get("processes", 1), distributed.world_size()
        if before != now:
            logger.warning(
                "WARNING: %s was trained by %d processes and goes on with %d: its batches change",
                self.last_path,
                before,
                now,
            )
        self.log.resume(self.step)
        logger.info("resumed at step %d", self.step)
        return True

    def begin(self, pretrained: Checkpoint | None = None) -> None:
        """What a method learns of the cohort before its first step: `Method.learn_atlas`, and
        `GradientMethod.prepare`.

        One process learns it and keeps it; all others read it.

        Parameters
        ----------
        pretrained : weights to start from

        Raises
        ------
        InputError
            if they are of another architecture.
        """
        if pretrained is not None:
            taken = weights_taken_over(self.method, pretrained, on_drawn=self.drawn is not None)
            self.method.load_tensors(taken)
            self.selected_before = pretrained.selected_on
        if distributed.rank() == 0:
            with distributed.solo():
                torch.manual_seed(self.seed)
                if self.drawn is not None:
                    fractions = self.drawn.pool.tissue_fractions()
                    self.method.learn_atlas(fractions.to(self.device))
                self.method.prepare(
                    self.training.batch([index]).to(self.device)
                    for index in range(len(self.training))
                )
                save_checkpoint(self.last_path, self.snapshot(with_optimiser=True))
        distributed.barrier()
        if distributed.rank() > 0:
            self.method.load_tensors(load_checkpoint(self.last_path).tensors)

    def run(self) -> None:
        """Train up to the plans' number of steps, or until nothing has become better for long."""
        training, first = self.plans.training, distributed.rank() == 0
        share = Share(distributed.rank(), distributed.world_size())
        if self.drawn is None:
            stream = batches(self.training, self.seed, self.step, self.device, share)
        else:
            stream = self.drawn.batches(self.seed, self.step, self.device, share)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(stream))
            board = (
                stack.enter_context(Board(self.folder / "tensorboard", self.step))
                if first
                else None
            )
            bar = stack.enter_context(
                progress(
                    "train", "step", total=training.steps, initial=self.step, disable=not first
                )
            )
            while self.step < training.steps and not self.standing.stopped:
                micro = [next(stream).to(self.device) for _ in range(training.accumulation)]
                losses = self.optimiser.step(micro, self.step, self.seed)
                self.step += 1
                bar.update()
                self.log.note(self.step, losses)
                due = self.step % training.checkpoint_every == 0 or self.step == training.steps
                if due or self.log.pending >= _LOG_EVERY:
                    self._report(board, bar, share.processes)
                if due:
                    self._checkpoint(board)

    def _report(self, board: Board | None, bar: Any, processes: int) -> None:
        """Bring the pending losses from the device into the log."""
        for line in self.log.fetch():
            self._require_finite(line["step"], {k: v for k, v in line.items() if k != "step"})
            if board is not None:
                board.losses(line)
        if bar.disable:
            return
        training, configuration = self.plans.training, self.plans.configuration
        subjects = configuration.batch_subjects * training.accumulation * processes
        rate = bar.format_dict["rate"]
        speed = f"{rate * subjects * len(self.plans.sequences):.1f}" if rate else "?"
        bar.set_postfix_str(f"loss {self.log.lines[-1]['loss']:.4f}, {speed} images/s")

    def _require_finite(self, step: int, losses: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, losses.values())):
            raise TrainingFailed(
                f"a loss is not finite at step {step}: {losses}. {self.last_path} holds the last "
                "good weights; lower training.learning_rate, or set training.amp=false."
            )

    def _checkpoint(self, board: Board | None) -> None:
        """The first process keeps the run as it stands; the others wait, and learn whether to stop.

        What is written, and in this order: the log, its picture, the best and the last checkpoint.
        A run that is killed in between goes on from the old last one, and writes the same again.
        """
        if board is not None:
            with distributed.solo():
                self._require_finite_weights()
                figures = self._validate(board) if self._validates() else None
                if figures is not None:
                    self.log.annotate(figures)
                self.log.write()
                if figures is not None:
                    self.log.draw()
                if self._is_best(figures):
                    save_checkpoint(self.best_path, self.snapshot(with_optimiser=False))
                save_checkpoint(self.last_path, self.snapshot(with_optimiser=True))
        self.standing.stopped = distributed.told(str(self.standing.stopped), self.device) == "True"
        if self.standing.stopped:
            logger.info(
                "stopped at step %d: no validation of the last %d was better (training.patience)",
                self.step,
                self.standing.since_best,
            )

    def _validates(self) -> bool:
        """Whether this checkpoint is one of the plans' number of validations, the last one always.

        A function of the step, so that a resumed run validates where an uninterrupted one does.
        """
        training = self.plans.training
        before = max(0, self.step - training.checkpoint_every)
        due = self.step * training.validations // training.steps
        return self.step == training.steps or due > before * training.validations // training.steps

    def _require_finite_weights(self) -> None:
        """The step's own loss was taken before its weights: only now would they show as spoilt."""
        weights = [p.detach().isfinite().all() for p in self.method.network.parameters()]
        if not bool(torch.stack(weights).all()):
            raise TrainingFailed(
                f"weights are not finite after step {self.step}. {self.last_path} holds the last "
                "good ones; lower training.learning_rate, or set training.amp=false."
            )

    def _validate(self, board: Board) -> dict[str, float]:
        figures = validate(
            self.method, self.validation, self.training, self._mean_images, self.device
        )
        self._require_finite(self.step, {"validation loss": figures["loss"]})
        preliminary = self._in_preliminary_phase()
        if self.selection is not None and not preliminary:
            figures |= selection_precision(self.method, self.selection, self.device)
        board.validation(figures, self.step)
        batch = first_pair(self.validation, self.training).to(self.device)
        board.pictures(self.method.pictures(batch), self.step)
        if not preliminary:
            warnings = self.method.warnings(figures) + self.standing.warnings(figures)
            for warning in warnings:
                logger.warning("WARNING, step %d: %s", self.step, warning)
            self._say_how_good(figures)
        return figures

    def _say_how_good(self, figures: Mapping[str, float]) -> None:
        if (said := beside_the_mean_brain(figures)) is None:
            return
        words, no_better = said
        if no_better:
            words += ": no better yet. Until it is, the model finds what the mean brain finds"
        logger.log(logging.WARNING if no_better else logging.INFO, "step %d: %s", self.step, words)

    def _in_preliminary_phase(self) -> bool:
        """Whether the last step belonged to what the method does before its training proper."""
        return self.method.preliminary_loss in self.log.lines[-1]

    def _is_best(self, figures: Mapping[str, float] | None) -> bool:
        is_last = self.step == self.plans.training.steps
        if figures is None or self._in_preliminary_phase():
            return is_last and not self.best_path.is_file()
        judged = self.judge is not None
        return self.standing.update(figures, judged, self.plans.training.patience)

    def snapshot(self, *, with_optimiser: bool) -> Checkpoint:
        """The run as it stands."""
        chose = [] if self.selection is None else self.selection.case_ids
        return Checkpoint(
            plans=self.plans,
            tensors=self.method.tensors(),
            step=self.step,
            optimiser=self.optimiser.tensors() if with_optimiser else {},
            progress={
                **self.standing.to_json(),
                **({"selection_cases": chose} if chose else {}),
                **({"selected_before": self.selected_before} if self.selected_before else {}),
                "seed": self.seed,
                "processes": distributed.processes_in_all(),
                "scaler": self.optimiser.scaler_state(),
            },
        )
