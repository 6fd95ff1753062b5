"""Raw intensity: bright (or dark) voxels are anomalous. What any method has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from dal_auto.methods.method import Batch, CohortMethod, Detection, Tile
from dal_auto.plans import ConfigurationPlan
from dal_auto.schema import Section


class RawIntensitySettings(Section):
    """Nothing to set."""


class RawIntensity(CohortMethod):
    """The matched image itself, in both polarities: x and 1 − x inside the brain."""

    name = "raw-intensity"
    Settings = RawIntensitySettings
    trivial = True

    @classmethod
    def default_settings(
        cls, preset: str, configuration: ConfigurationPlan
    ) -> RawIntensitySettings:
        return RawIntensitySettings()

    def fit_cohort(self, batches: Iterable[Batch]) -> None:
        """Nothing is learned."""

    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        return Detection({"bright": image * brain_mask, "dark": (1 - image) * brain_mask})

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing to take."""
