"""A trained run as a file to hand on, and such a file as a run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dal_auto import paths
from dal_auto.case import Geometry, StandardCase
from dal_auto.errors import UsageError
from dal_auto.inference.export import standard_grid
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, versions
from dal_auto.plans import Plans
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.resampling import resample
from dal_auto.store.atomic import replacing, write_json
from dal_auto.store.model_files import ModelCard, ModelFile
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)

#: Half precision is "equal" where it moves the score by no more than this share of its mean.
_EQUAL = 0.01
#: What of a training's progress goes with a model.
_OF_SELECTION = ("selection_cases", "selected_before")


def pack(source: Run | ModelFile, target: Path, *, name: str | None = None) -> ModelFile:
    """Write a complete run, or a model, as ``target`` (``.safetensors``) and its card.

    Parameters
    ----------
    name : on the card; by default the run's

    Raises
    ------
    UsageError
        as `write_model`.
    """
    return write_model(load_checkpoint(source.checkpoint_path), target, name or str(source))


def write_model(whole: Checkpoint, target: Path, name: str) -> ModelFile:
    """Write a checkpoint as ``target`` (``.safetensors``) and its card.

    Weights are stored in half precision where that leaves the score on the atlas's brain as it is
    (to 1 % of its mean), else in single precision. What only training or figures want stays behind;
    which cases chose the weights is kept, since a fair test leaves them out.

    Parameters
    ----------
    target : the ``.safetensors`` file to write; the card goes beside it
    name : on the card

    Raises
    ------
    UsageError
        if `target` is no ``.safetensors``, or the model has no practical thresholds.
    """
    require_model_name(target)
    if not whole.thresholds:
        raise UsageError(f"{name} has no practical thresholds: resume its training first")
    plans = _without_folders(whole.plans)
    chose = {k: v for k, v in whole.progress.items() if k in _OF_SELECTION}
    lean = replace(whole, plans=plans, optimiser={}, progress=chose, figures={})
    halved = replace(lean, tensors={n: _halved(tensor) for n, tensor in lean.tensors.items()})
    # They are stored in half precision, and read into single: computed with as such.
    read_back = {n: t.float() if t.dtype == torch.half else t for n, t in halved.tensors.items()}
    difference = half_difference(lean, replace(lean, tensors=read_back))
    equal = difference <= _EQUAL
    if not equal:
        logger.warning(
            "half precision moves the score by %.1f %%: single precision is kept", 100 * difference
        )
    save_checkpoint(target, halved if equal else lean)
    model = ModelFile(target)
    write_json(
        model.card_path,
        _card(model, lean, name, equal, difference).model_dump(mode="json"),
    )
    return model


def install(model: ModelFile) -> Run:
    """Put a model among the runs in DAL_RESULTS, where every command finds it.

    Raises
    ------
    InputError
        if the file, its card or its hash is not right.
    """
    card = model.card()
    checkpoint = load_checkpoint(model.checkpoint_path)
    name = f"{card.method}__{card.configuration}__{card.preset}__{card.sha256[:8]}"
    run = Run(paths.results() / checkpoint.plans.training_set / name / "seed_0")
    with replacing(run.checkpoint_path) as temporary:
        temporary.write_bytes(model.checkpoint_path.read_bytes())
    write_json(run.folder / "card.json", card.model_dump(mode="json"))
    write_json(run.folder / "plans.json", checkpoint.plans.to_json())
    write_json(run.folder / "complete.json", {"installed": card.name, "versions": card.versions})
    return run


def require_model_name(target: Path) -> None:
    """Refuse a file that a model cannot be written as, before any work is done for it.

    Raises
    ------
    UsageError
        if it is no ``.safetensors``.
    """
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} does not end in .safetensors")


def half_difference(single: Checkpoint, half: Checkpoint) -> float:
    """Mean |difference| of two models' scores over the first one's mean score, of all sequences."""
    plans = single.plans
    probe = _atlas_as_case(plans)
    moved, mean = 0.0, 0.0
    methods = single.build("cpu"), half.build("cpu")
    for sequence in plans.sequences:
        a, b = (
            next(iter(predict(method, probe, sequence, "cpu").anomaly.values()))
            for method in methods
        )
        moved += float(np.abs(a - b).mean())
        mean += float(a.mean())
    return moved / mean if mean else 0.0


def _without_folders(plans: Plans) -> Plans:
    """Plans that name the model they started from by its file alone: folders are nobody else's."""
    start = plans.training.pretrained
    if not start:
        return plans
    return plans.override({"training.pretrained": Path(start).name}, "user: --pretrained")


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _atlas_as_case(plans: Plans) -> StandardCase:
    """The atlas's brain as every sequence: a real brain that is at hand wherever a model runs."""
    atlas, grid = load_atlas(), standard_grid(plans)
    image = resample(atlas.image, atlas.grid, grid, np.eye(4))
    image = (image / image.max()).astype(np.float32)
    brain = image > 0
    percentiles = brain_percentiles(image, brain, plans.preprocessing.percentiles)
    names = plans.sequences
    return StandardCase(
        dataset="atlas",
        case_id=atlas.name,
        patient_id=atlas.name,
        sequences=names,
        images=np.stack([image] * len(names)),
        brain_mask=brain,
        lesion_mask=None,
        geometry=Geometry(dict.fromkeys(names, grid), dict.fromkeys(names, np.eye(4))),
        scale=dict.fromkeys(names, 1.0),
        percentiles=dict.fromkeys(names, percentiles),
        quality={},
        steps=(),
    )


def _card(
    model: ModelFile, checkpoint: Checkpoint, name: str, half: bool, difference: float
) -> ModelCard:
    plans = checkpoint.plans
    return ModelCard(
        name=name,
        sha256=model.checkpoint_sha256(),
        size_bytes=model.checkpoint_path.stat().st_size,
        method=plans.method.name,
        preset=plans.method.preset,
        configuration=plans.configuration.name,
        spacing_mm=plans.configuration.spacing_mm,
        training_set=plans.training_set,
        sequences=plans.sequences,
        steps=checkpoint.step,
        thresholds=dict(checkpoint.thresholds),
        joint_thresholds=dict(checkpoint.joint_thresholds),
        threshold_source=checkpoint.sources,
        atlas=plans.preprocessing.atlas,
        precision="half" if half else "single",
        half_difference=round(difference, 6),
        versions=versions(),
    )
