"""Features learned on the healthy cohort, where a method was published with ImageNet's.

A trunk is trained as the encoder of an autoencoder that removes coarse noise (that of `dae`). It is
an alternative of ours, and another method than the published one: its maps bear its name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from dal_auto.errors import UsageError
from dal_auto.methods.dae import coarse_noise, noise_cells
from dal_auto.networks.backbone import Backbone, Decoder, FeatureTrunk
from dal_auto.schema import Section, ours

logger = logging.getLogger(__name__)

#: The name of maps, tables and thresholds of self-trained features.
SELF_TRAINED = "self-trained"


class SelfTrainedSettings(Section):
    """The trunk and how it is trained; of no concern where features are ImageNet's."""

    backbone: Backbone = ours("resnet18", "a cohort's slices are fewer than ImageNet's pictures")
    stem_width: int = ours(64, "channels of its first layer", ge=4)
    slices: int = ours(2000, "kept of each sequence to train on: 0.3 GB at 1 mm", ge=1)
    steps: int = ours(2000, "of Adam; bounds the time", ge=0)
    slices_per_step: int = ours(16, "drawn from all sequences", ge=2)
    learning_rate: float = ours(1e-3, "Adam's usual one", gt=0)
    noise_std: float = ours(0.2, "as DAE", gt=0)
    noise_cell_mm: float = ours(15.0, "as DAE", gt=0)


def train_trunk(
    trunk: FeatureTrunk,
    kept: Tensor,
    sized: Callable[[Tensor], Tensor],
    spacing_mm: tuple[float, float],
    settings: SelfTrainedSettings,
) -> None:
    """Train the trunk where it lies, with torch's own random numbers; it is left frozen.

    Parameters
    ----------
    kept : (n, 2, h, w) slices in [0, 1] and the brain in them
    sized : brings slices to the size that the trunk takes
    spacing_mm : of the slices' pixels

    Raises
    ------
    UsageError
        if the training diverges.
    """
    device = next(trunk.parameters()).device
    decoder = Decoder(trunk).to(device)
    parameters = [*trunk.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    cells = noise_cells(kept.shape[2:], spacing_mm, settings.noise_cell_mm)
    loss = torch.zeros(())
    trunk.train().requires_grad_(True)
    for _ in range(settings.steps):
        chosen = torch.randint(len(kept), (settings.slices_per_step,))
        slices, brain = kept[chosen].to(device).float().split(1, dim=1)
        noise = coarse_noise(slices, cells) * settings.noise_std * brain
        inside, clean = sized(brain), sized(slices)
        error = (decoder(trunk(sized(slices + noise))) - clean).square() * inside
        loss = error.sum() / inside.sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    trunk.eval().requires_grad_(False)
    if not loss.isfinite():
        raise UsageError(
            "the training of the features diverged: lower "
            "method.settings.self_trained.learning_rate with --set"
        )
    if settings.steps:
        logger.info(
            "features learned on %d slices in %d steps: denoising error %.2g",
            len(kept), settings.steps, float(loss.detach()),
        )  # fmt: skip
