"""The named configurations: grid, windows and schedule, fitted to the memory of the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dal_auto.errors import PlansError
from dal_auto.plans import ConfigurationPlan, Shape

_TARGET: Shape = (160, 224, 160)
#: §4.2.1: 150 epochs; a step sees `batch_subjects` patients once.
PAPER_EPOCHS = 150


@dataclass(frozen=True)
class Configuration:
    """One row of the table.

    Parameters
    ----------
    input_shape : voxels of the whole brain at training resolution
    window : what one pass of the restorer sees
    downsampling : how 1 mm becomes the training grid
    needs_gb : least memory, estimated for DAL, not yet measured
    source : where the grid comes from
    training : training values that differ from the defaults, key → (value, source)
    """

    input_shape: Shape
    window: Shape
    downsampling: Literal["trilinear", "area"]
    needs_gb: float
    source: str
    training: dict[str, tuple[Any, str]]

    def plan(self, name: str) -> ConfigurationPlan:
        """This row as a section of the plans."""
        x, y, z = (t / s for t, s in zip(_TARGET, self.input_shape, strict=True))
        return ConfigurationPlan(
            name=name,
            input_shape=self.input_shape,
            spacing_mm=(x, y, z),
            downsampling=self.downsampling,
            window=self.window,
        )

    def sources(self) -> dict[str, str]:
        """Dotted key → source of the values of this row."""
        sources = {f"configuration.{key}": self.source for key in ("input_shape", "window")}
        sources["configuration.spacing_mm"] = self.source
        if self.downsampling == "area":
            sources["configuration.downsampling"] = "ours: trilinear would alias at this factor"
        return sources | {f"training.{key}": source for key, (_, source) in self.training.items()}


CONFIGURATIONS: dict[str, Configuration] = {
    "paper": Configuration(
        (112, 160, 112), (112, 160, 112), "trilinear", 40.0, "paper: §4.2.1, 1.43 mm", {}
    ),
    "fullres": Configuration(
        (160, 224, 160), (96, 128, 96), "trilinear", 40.0, "ours: 1 mm, in windows", {}
    ),
    "small": Configuration(
        (80, 112, 80), (80, 112, 80), "area", 10.0, "ours: 2 mm, for GPUs of 8 to 12 GB", {}
    ),
    "demo": Configuration(
        (40, 56, 40),
        (40, 56, 40),
        "area",
        0.0,
        "ours: 4 mm, minutes on a CPU",
        {
            "steps": (300, "ours: minutes on two CPU cores; far from converged"),
            "learning_rate": (2e-3, "ours: few steps want large ones"),
            "amp": (False, "ours: bf16 without AVX-512 is 100 times slower"),
            "validation_fraction": (0.15, "ours: 5 % of a small cohort is no patient"),
        },
    ),
}


def choose_configuration(name: str | None, device: str, memory_gb: float) -> tuple[str, str]:
    """The configuration asked for, or the largest that fits; with the reason.

    Raises
    ------
    PlansError
        for an unknown name; the message lists the known ones.
    """
    if name is not None:
        if name not in CONFIGURATIONS:
            raise PlansError("configuration", name, f"known: {', '.join(CONFIGURATIONS)}")
        return name, "user: asked for"
    reason = f"measured: {device} with {memory_gb:.0f} GB"
    if device == "cpu":
        return "demo", reason
    fitting = (n for n in ("paper", "small", "demo") if CONFIGURATIONS[n].needs_gb <= memory_gb)
    return next(fitting), reason
