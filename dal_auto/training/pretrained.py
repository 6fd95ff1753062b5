"""The model whose weights a training starts from (`--pretrained`): what is taken over of it."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from dal_auto.errors import InputError, UsageError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, require_same_architecture
from dal_auto.methods.method import GradientMethod, Method
from dal_auto.plans import Plans
from dal_auto.store.model_files import ModelFile

logger = logging.getLogger(__name__)


def pretrained_model(plans: Plans) -> Checkpoint | None:
    """The model whose weights training starts from, where the plans name one.

    Raises
    ------
    InputError
        if it is not there, is no checkpoint, or has another hash than the plans say.
    """
    training = plans.training
    if not training.pretrained:
        return None
    file = ModelFile(Path(training.pretrained))
    found = load_checkpoint(file.checkpoint_path)
    if training.pretrained_sha256 and file.checkpoint_sha256() != training.pretrained_sha256:
        raise InputError(
            file.checkpoint_path,
            f"its SHA-256 is {file.checkpoint_sha256()}, and the plans want "
            f"{training.pretrained_sha256}",
            "Name the model again with --pretrained.",
        )
    return found


def weights_taken_over(
    method: Method, pretrained: Checkpoint, *, on_drawn: bool
) -> dict[str, Tensor]:
    """The method's tensors, with those of a model to start from in their place.

    What a model has of each sequence goes to the sequence of the same name. Of a sequence that it
    does not know the method keeps its own start.

    Parameters
    ----------
    on_drawn : whether drawn heads are trained on: what is learned of their atlas is learned anew,
        and may have been of another grid, a coarser one say

    Raises
    ------
    UsageError
        if the method is not trained by steps, so that it starts from nothing.
    InputError
        if the weights are of another architecture.
    """
    if not isinstance(method, GradientMethod):
        raise UsageError(
            f"{method.name} is fitted in one pass and starts from no weights: leave out "
            "--pretrained"
        )
    theirs = pretrained.plans
    kept = {*(method.learned_of_atlas if on_drawn else ()), *method.by_sequence}
    require_same_architecture(
        method,
        pretrained,
        besides=kept,
        remedy="Start from a model of the same method, configuration and sizes: this one is "
        f"{theirs.method.name}, `-c {theirs.configuration.name}`, with settings of its own.",
    )
    own = method.tensors()
    taken = {
        name: t.to(own[name].device) for name, t in pretrained.tensors.items() if name not in kept
    }
    for name in method.by_sequence:
        if name in own and name in pretrained.tensors:
            taken[name] = own[name].clone()
            for place, sequence in enumerate(method.plans.sequences):
                if sequence in theirs.sequences:
                    row = pretrained.tensors[name][theirs.sequences.index(sequence)]
                    taken[name][place] = row.to(taken[name].device)
    return own | taken


def say_what_is_new(plans: Plans, pretrained: Checkpoint) -> None:
    """Warn of what the model to start from does not know, or knows too well."""
    before = pretrained.plans
    if new := [name for name in plans.sequences if name not in before.sequences]:
        logger.warning("%s starts anew: the model of --pretrained does not know it", ", ".join(new))
    same_set = before.training_set == plans.training_set
    if same_set and before.training.validation_fraction < plans.training.validation_fraction:
        logger.warning(
            "WARNING: the model of --pretrained was trained on patients of %s that are held out "
            "now: thresholds that come from them are too low. Train with "
            "--set training.validation_fraction=%g",
            plans.training_set,
            before.training.validation_fraction,
        )
