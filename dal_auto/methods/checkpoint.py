"""A checkpoint is one file: safetensors, with the plans and all else as JSON in its metadata.

Nothing is ever unpickled: a file that is not safetensors is refused unread.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.torch_version import TorchVersion

import dal_auto
from dal_auto.datasets.drawn import is_drawn
from dal_auto.errors import InputError
from dal_auto.methods.method import GradientMethod, Illustrated, Method
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans, stored_plans
from dal_auto.store.atomic import replacing

logger = logging.getLogger(__name__)

_FORMAT = "dal_auto checkpoint 1"
#: CVE-2026-24747: below, a crafted pickle can run code even with ``weights_only=True``.
_SAFE_TORCH = "2.10"


@dataclass(frozen=True)
class Older:
    """Where a threshold comes from that the last calibration had no cases for, and left as it was.

    Parameters
    ----------
    source : which cases gave it, in words
    trust : of a joint threshold, as in `Checkpoint.joint_trust`
    """

    source: str
    trust: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run has learned.

    Parameters
    ----------
    plans : what steered it, landmarks and atlas hash included
    tensors : the method's
    step : training steps taken
    thresholds : "sequence" or "sequence/variant" → practical threshold of the post-processed score
    joint_thresholds : `joint_key` → threshold of the joint map of these sequences, in multiples of
        theirs; models of before have none
    joint_trust : `joint_key` → power that its threshold was raised to: 1, or less where drawn
        heads gave them (`training.calibration`)
    threshold_source : which cases gave the thresholds, in words
    older : sequence or `joint_key` → where its threshold comes from, if from other cases than these
    optimiser : the optimiser's tensors, in ``last.safetensors`` only
    progress : what else a resumed training must know
    figures : tensors that only figures want (`Illustrated.fit_figures`); in the file, "viewer.…"
    path : the file that it was read from
    """

    plans: Plans
    tensors: Mapping[str, Tensor]
    step: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    joint_thresholds: Mapping[str, float] = field(default_factory=dict)
    joint_trust: Mapping[str, float] = field(default_factory=dict)
    threshold_source: str = ""
    older: Mapping[str, Older] = field(default_factory=dict)
    optimiser: Mapping[str, Tensor] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    path: Path | None = None

    @property
    def calibrated(self) -> set[str]:
        """The sequences that have a practical threshold."""
        return {threshold_sequence(key) for key in self.thresholds}

    @property
    def selected_on(self) -> dict[str, list[str]]:
        """Dataset → annotated cases that chose these weights, or those of a model that they started
        from."""
        found = {name: set(ids) for name, ids in self.progress.get("selected_before", {}).items()}
        if own := self.progress.get("selection_cases"):
            found.setdefault(self.plans.training.select_on, set()).update(own)
        return {name: sorted(ids) for name, ids in found.items()}

    def source_of(self, key: str) -> str:
        """Which cases gave the threshold of a sequence or `joint_key`, in words."""
        return self.older[key].source if key in self.older else self.threshold_source

    def trust_of(self, key: str) -> float:
        """See `joint_trust`, of one `joint_key`; 1 where nothing is said of it."""
        return self.older[key].trust if key in self.older else self.joint_trust.get(key, 1.0)

    @property
    def sources(self) -> str:
        """Which cases gave all the thresholds, in words."""
        before: dict[str, list[str]] = {}
        for key, older in sorted(self.older.items(), key=lambda one: (one[0].count("+"), one[0])):
            before.setdefault(older.source, []).append(key)
        kept = (f"of before, {source}: {', '.join(keys)}" for source, keys in before.items())
        return "; ".join([self.threshold_source, *kept])

    def build(self, device: str) -> Method:
        """The method with its tensors, on `device`.

        Raises
        ------
        InputError
            if they are of another architecture than the method has today.
        """
        method = find_method(self.plans.method.name)(self.plans)
        if isinstance(method, GradientMethod):
            require_same_architecture(method, self)
        method.load_tensors({name: tensor.to(device) for name, tensor in self.tensors.items()})
        if isinstance(method, Illustrated):
            method.figure_tensors = dict(self.figures)
        return method.to(device)


def require_same_architecture(
    method: GradientMethod,
    checkpoint: Checkpoint,
    *,
    besides: Collection[str] = (),
    remedy: str = "Use the plans and the version of dal_auto that it was trained with, or train "
    "again in another folder.",
) -> None:
    """Refuse weights of another architecture, naming the first that differs.

    Parameters
    ----------
    besides : tensors that may differ
    remedy : what the message ends with

    Raises
    ------
    InputError
        with the weight's name, and its shape here and there.
    """
    ours = {name: tuple(tensor.shape) for name, tensor in method.tensors().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    for name in [*ours, *theirs]:
        here, there = ours.get(name, "missing"), theirs.get(name, "missing")
        if here != there and name not in besides:
            raise InputError(
                checkpoint.path or "the checkpoint",
                f"its weights are of another architecture: {name} is {there} in it, and {here} in "
                f"{method.name} by these plans",
                remedy,
            )


def threshold_key(sequence: str, variant: str) -> str:
    """Under which name `Checkpoint.thresholds` holds the threshold of a sequence's variant."""
    return f"{sequence}/{variant}" if variant else sequence


def threshold_sequence(key: str) -> str:
    """The sequence of a `threshold_key`."""
    return key.partition("/")[0]


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "dal_auto": dal_auto.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`; the file that was there is replaced only once the new one is whole."""
    content = {
        "format": _FORMAT,
        "plans": checkpoint.plans.to_json(),
        "step": checkpoint.step,
        "thresholds": dict(checkpoint.thresholds),
        "joint_thresholds": dict(checkpoint.joint_thresholds),
        "joint_trust": dict(checkpoint.joint_trust),
        "threshold_source": checkpoint.threshold_source,
        "progress": dict(checkpoint.progress),
        "versions": versions(),
    }
    if checkpoint.older:
        content["older"] = {key: asdict(older) for key, older in checkpoint.older.items()}
    tensors = {f"method.{name}": tensor for name, tensor in checkpoint.tensors.items()}
    tensors |= {f"optimiser.{name}": tensor for name, tensor in checkpoint.optimiser.items()}
    tensors |= {f"viewer.{name}": tensor for name, tensor in checkpoint.figures.items()}
    whole = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    # One key only: safetensors writes several in random order, and equal runs would differ.
    metadata = {"content": json.dumps(content, sort_keys=True)}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint on the CPU.

    Raises
    ------
    InputError
        if the file is missing, is not safetensors (a pickle, say), or not one of ours.
    PlansError
        if its plans do not hold, for instance when another version wrote them.
    """
    _warn_of_old_torch()
    remedy = "Name a run that dal_train wrote; pickled checkpoints are never opened."
    if not path.is_file():
        raise InputError(path, "no such checkpoint", "Train one with dal_train, or check the path.")
    try:
        with safe_open(path, "pt", device="cpu") as file:
            metadata = file.metadata() or {}
            content = json.loads(metadata.get("content", "{}"))
            if content.get("format") != _FORMAT:
                raise InputError(path, "it holds tensors, but not a dal_auto checkpoint", remedy)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(path, "it is no safetensors file, and was not opened", remedy) from error

    def under(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    # Half precision is for storage only.
    weights = {n: t.float() if t.dtype == torch.half else t for n, t in under("method.").items()}
    plans = stored_plans(content["plans"])
    return Checkpoint(
        plans=plans,
        tensors=weights,
        step=content["step"],
        thresholds=content["thresholds"],
        joint_thresholds=content.get("joint_thresholds", {}),
        joint_trust=_joint_trust(content, plans),
        threshold_source=content["threshold_source"],
        older={key: Older(**older) for key, older in content.get("older", {}).items()},
        optimiser=under("optimiser."),
        progress=content["progress"],
        figures=under("viewer."),
        path=path,
    )


def _joint_trust(content: Mapping[str, Any], plans: Plans) -> Mapping[str, float]:
    """By `joint_key`. Models of before have one for all, or none: those of drawn heads had 0.5."""
    kept = content.get("joint_trust", 0.5 if is_drawn(plans.training_set) else 1.0)
    return (
        kept if isinstance(kept, dict) else dict.fromkeys(content.get("joint_thresholds", ()), kept)
    )


@cache
def _warn_of_old_torch() -> None:
    """Said once: it does not concern this package, and may concern others beside it."""
    version = TorchVersion(torch.__version__)
    if version < TorchVersion(_SAFE_TORCH):
        logger.warning(
            "torch %s is older than 2.10: its torch.load can be made to run code, even with "
            "weights_only=True (CVE-2026-24747). dal_auto unpickles nothing and is not concerned; "
            "update torch if you load other people's .pt files.",
            version,
        )
