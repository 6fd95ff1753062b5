"""Mean healthy brain: what differs from the average of the cohort is anomalous."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dal_auto.methods.method import Batch, CohortMethod, Detection, Tile, mean_images
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import Section


class MeanBrainSettings(Section):
    """Nothing to set."""


class MeanBrain(CohortMethod):
    """|x − mean|, the mean taken voxelwise over the healthy brains that cover the voxel."""

    name = "mean-brain"
    Settings = MeanBrainSettings
    trivial = True

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self._mean = torch.zeros(len(plans.sequences), *plans.configuration.input_shape)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> MeanBrainSettings:
        return MeanBrainSettings()

    def fit_cohort(self, batches: Iterable[Batch]) -> None:
        self._mean = mean_images(batches)

    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        mean = self._mean[self.plans.sequences.index(sequence)] * brain_mask
        return Detection({"": (image - mean).abs() * brain_mask}, pseudo_healthy=mean)

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self._mean}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self._mean = tensors["mean"]
