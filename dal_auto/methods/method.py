"""The interface: what a method must offer to be trained, asked for anomaly maps, saved and loaded.

The trainer calls the method, never the other way round. Post-processing, resampling between grids
and the choice of cases are outside; a method sees volumes on the configuration's grid only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import Section

#: Runs a network over a volume (1, C, x, y, z) in the windows of the plans.
Tile = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
#: What `watch` calls the mean |x̂ − x| of the brain: trainings compare it with the mean brain's.
RESTORATION_ERROR = "restoration_error"


@dataclass(frozen=True, eq=False)
class Batch:
    """Histogram-matched volumes on the configuration's grid.

    Parameters
    ----------
    images : (subject, sequence, x, y, z) float32 in [0, 1], 0 outside the brain
    brain_mask : (subject, 1, x, y, z) float32, 0 or 1
    present : (subject, sequence) bool; the images of a sequence that a subject lacks are 0
    clean : (subject, sequence, x, y, z) as `images`, without the corruption pasted into them; None
        where nothing is pasted
    tissue : (subject, x, y, z) int64, the true tissue of a cohort that knows it: 0 CSF, 1 grey
        matter, 2 white matter, −1 outside the brain
    """

    images: Tensor
    brain_mask: Tensor
    present: Tensor
    clean: Tensor | None = None
    tissue: Tensor | None = None

    def to(self, device: str) -> Batch:
        moved = (
            None if tensor is None else tensor.to(device, non_blocking=True)
            for tensor in (self.images, self.brain_mask, self.present, self.clean, self.tissue)
        )
        return Batch(*moved)  # type: ignore[arg-type]


def mean_images(batches: Iterable[Batch]) -> Tensor:
    """(sequence, x, y, z) mean over the subjects whose brains cover the voxel; 0 where none does.

    Raises
    ------
    ValueError
        if there is no batch.
    """
    total = count = None
    for batch in batches:
        present = batch.present[..., None, None, None]
        images = torch.where(present, batch.images, 0).sum(dim=0)
        covered = (batch.brain_mask * present).sum(dim=0)
        total = images if total is None else total + images
        count = covered if count is None else count + covered
    if total is None or count is None:
        raise ValueError("the mean of no subjects")
    return total / count.clamp(min=1)


@dataclass(frozen=True, eq=False)
class Detection:
    """What a method says of one image.

    Parameters
    ----------
    scores : variant → (x, y, z) float32 ≥ 0; one scale for all cases, no normalisation per case.
        Most methods have the one variant ``""``; where there are several (both polarities of raw
        intensity), tables show the one that scores best, and say which.
    pseudo_healthy : (x, y, z) in [0, 1], where the method has one
    extras : further volumes worth looking at (anatomy, edges), by name
    vectors : (n,) what describes the image, by name; "… restored" of the pseudo-healthy image
    """

    scores: Mapping[str, Tensor]
    pseudo_healthy: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    vectors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablations:
    """Settings by which a method's paper takes it apart: tables and curves are made of such runs.

    Keys are those of the method's own settings.

    Parameters
    ----------
    modules : setting → what a run is without where it is false
    loss_weights : setting → loss terms that are off where it is 0
    loss_terms : the setting that lists the loss terms that are on, if there is one
    swept : hyper-parameters that the paper draws curves of
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    loss_weights: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loss_terms: str | None = None
    swept: tuple[str, ...] = ()


class Method(ABC):
    """One way to detect anomalies.

    Subclass `GradientMethod` or `CohortMethod`, and register the class as an entry point of the
    group ``dal_auto.methods``.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Section]]
    #: A method that knows nothing of anatomy; one that does not beat it detects nothing.
    trivial: ClassVar[bool] = False
    #: The setting that computes activations again (gradient checkpointing), which takes less memory
    #: and more time, to the same result; None where it has none.
    memory_saver: ClassVar[str | None] = None
    #: Its paper filters maps otherwise than DAL's: whatever `detect` gives. Tables show both.
    own_postprocessing: ClassVar[bool] = False
    #: Keys of the plans' `training` that its paper has otherwise than DAL's → (value, source).
    own_training: ClassVar[Mapping[str, tuple[Any, str]]] = MappingProxyType({})
    #: Keys of the plans' `training` that its robust preset sets → (value, reason).
    robust_training: ClassVar[Mapping[str, tuple[Any, str]]] = MappingProxyType({})

    #: What its paper leaves out or varies to see what it is worth.
    ablations: ClassVar[Ablations] = Ablations()

    def __init__(self, plans: Plans) -> None:
        self.plans = plans
        self.settings = self.parse_settings(plans)

    @classmethod
    @abstractmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> Section:
        """Settings for a preset ("robust", "paper") on a configuration's grid."""

    @classmethod
    def parse_settings(cls, plans: Plans) -> Section:
        """The validated settings in `plans`; errors name the key."""
        return cls.Settings.parse(plans.method.settings, "method.settings")

    def require_files(self) -> None:
        """Make sure that the files that training needs are there, before any work.

        Raises
        ------
        InputError
            if one is missing, or another one than stated.
        """
        return  # most need none

    @abstractmethod
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Anomaly scores of one image.

        Parameters
        ----------
        image : (x, y, z) in [0, 1] on the configuration's grid
        brain_mask : (x, y, z), 0 or 1
        sequence : its name, one of those trained on
        tile : runs a network in windows where the volume is larger than one
        """

    def learn_atlas(self, tissue_fractions: Tensor) -> None:
        """Learn where tissues lie, once before the first step, of a cohort that knows tissues.

        A resumed run is not told again: what a method keeps of it belongs to `tensors`.

        Parameters
        ----------
        tissue_fractions : (3, x, y, z) in [0, 1], mean shares of CSF, grey and white matter over
            the training anatomies, on the configuration's grid
        """
        return  # most have no use for it

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Learn constants that maps depend on, after training, with the weights as they are.

        They belong to `tensors`. Until then, while checkpoints are chosen, `detect` does without.

        Parameters
        ----------
        batches : healthy cases that were not trained on where there are any, one subject each
        """
        return  # most have none

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was learned, to be saved."""

    def score_words(self, sequence: str) -> str:
        """What the score of a sequence is, for people who read it beside a map."""
        return f"as {self.name} defines it; see the method's documentation"

    @abstractmethod
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""

    def to(self, device: str) -> Method:
        """Move to a device; returns itself."""
        self.load_tensors({name: tensor.to(device) for name, tensor in self.tensors().items()})
        return self


class Illustrated(ABC):
    """Beside `Method`: one that can show more of itself in figures than its maps do, by what it
    learned for them alone."""

    #: What `fit_figures` gave; no map depends on it.
    figure_tensors: Mapping[str, Tensor] = MappingProxyType({})

    @abstractmethod
    def fit_figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Learn what only figures want, after training, with the weights as they are.

        Parameters
        ----------
        batches : some training cases, one subject each
        """

    @abstractmethod
    def figure_volumes(
        self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile
    ) -> dict[str, Tensor]:
        """Further volumes (x, y, z) for figures, by name, where `figure_tensors` are there; not
        made at every prediction.

        Parameters are those of `Method.detect`.
        """


class GradientMethod(Method):
    """Trained by the shared trainer: optimiser, AMP, resume, validation are its business."""

    #: The loss that the steps of a preliminary phase give beside "loss"; until it has passed, no
    #: checkpoint is judged. None for a method that has no such phase.
    preliminary_loss: ClassVar[str | None] = None
    #: Tensors that `learn_atlas` sets, on the configuration's grid: weights of another grid do for
    #: a start all the same.
    learned_of_atlas: ClassVar[tuple[str, ...]] = ()
    #: Tensors with a row for each of the plans' sequences, in their order.
    by_sequence: ClassVar[tuple[str, ...]] = ()

    network: nn.Module

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learn from the cohort what training stands on, once before the first step.

        A resumed run is not told again: what is kept of it belongs to `tensors`.

        Parameters
        ----------
        batches : every training case once, one subject each; read as far as they are asked for
        """
        return  # most begin with their first step

    @abstractmethod
    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Losses by name; ``"loss"`` is the one that is minimised, the others are shown.

        Two players of a game are one sum, each seen by the other through `networks.frozen`: Adam's
        moments are of each weight, so one Adam over both is as good as one for each.
        """

    @abstractmethod
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Figures that tell a healthy training from a collapsed one, by name; no gradients."""

    @abstractmethod
    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        """What is wrong with the figures of `watch`, and what to try."""

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Volumes (x, y, z) in [0, 1] of the batch's first subject, by name, to look at while
        training; no gradients."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(dict(tensors))

    def to(self, device: str) -> Method:
        self.network.to(device)
        return self


class CohortMethod(Method):
    """Fitted in one pass over the healthy cohort."""

    @abstractmethod
    def fit_cohort(self, batches: Iterable[Batch]) -> None:
        """Learn from every training case once (batches of one subject)."""
