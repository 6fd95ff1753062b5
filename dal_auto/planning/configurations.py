"""The named configurations: grid, windows, widths and schedule, and which of them a device gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dal_auto.case import Shape
from dal_auto.errors import PlansError
from dal_auto.networks.precision import half_precision
from dal_auto.plans import ConfigurationPlan, PreprocessingPlan

_TARGET = PreprocessingPlan().target_shape
#: §4.2.1: 150 epochs; a step sees `batch_subjects` patients once.
PAPER_EPOCHS = 150
#: Shares of a method's widths that are tried, largest first, where memory decides.
_NARROWER = (1.0, 0.75, 0.5, 0.25)
#: Voxels this large or larger are averaged: trilinear interpolation would skip some.
_AVERAGED_FROM_MM = 2.0
#: On a CPU, bfloat16 gradients of convolutions on a few voxels differ from run to run, and may be
#: NaN: seen with 8³ voxels of input, not with the demo's 40×56×40.
_BFLOAT16_FROM_VOXELS = 32


@dataclass(frozen=True)
class Configuration:
    """One row of the table.

    Parameters
    ----------
    input_shape : voxels of the whole brain at training resolution
    window : what one pass of the restorer sees at prediction
    source : where the grid comes from
    widths : shares of the method's widths that the planner may take to fit the memory
    training : training values that differ from the defaults, key → (value, source)
    """

    input_shape: Shape
    window: Shape
    source: str
    widths: tuple[float, ...] = (1.0,)
    training: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def plan(
        self,
        name: str,
        *,
        width: float = 1.0,
        target_shape: Shape = _TARGET,
    ) -> ConfigurationPlan:
        """This row as a section of the plans.

        Parameters
        ----------
        target_shape : the standard grid of 1 mm that the input grid covers
        """
        spacing_mm = spacing_of(self.input_shape, target_shape)
        return ConfigurationPlan(
            name=name,
            input_shape=self.input_shape,
            spacing_mm=spacing_mm,
            downsampling=downsampling_for(spacing_mm),
            window=self.window,
            width=width,
        )

    def sources(self) -> dict[str, str]:
        """Dotted key → source of the values of this row."""
        sources = {f"configuration.{key}": self.source for key in ("input_shape", "window")}
        sources["configuration.spacing_mm"] = self.source
        if downsampling_for(spacing_of(self.input_shape, _TARGET)) == "area":
            sources["configuration.downsampling"] = "ours: trilinear would alias at this factor"
        return sources | {f"training.{key}": source for key, (_, source) in self.training.items()}


def spacing_of(input_shape: Shape, target_shape: Shape) -> tuple[float, float, float]:
    """Voxel size in mm of a grid that covers the standard grid of 1 mm."""
    x, y, z = (t / s for t, s in zip(target_shape, input_shape, strict=True))
    return x, y, z


def downsampling_for(spacing_mm: tuple[float, float, float]) -> Literal["trilinear", "area"]:
    """How 1 mm becomes voxels of `spacing_mm`: as in the paper, unless that would skip voxels."""
    return "area" if max(spacing_mm) >= _AVERAGED_FROM_MM else "trilinear"


def mixed_precision(kind: str, input_shape: Shape) -> bool:
    """Whether a device of this kind trains faster with it, and to the same bits again."""
    if kind == "cuda":
        return True
    return half_precision(kind) is not None and min(input_shape) >= _BFLOAT16_FROM_VOXELS


CONFIGURATIONS: dict[str, Configuration] = {
    "paper": Configuration((112, 160, 112), (112, 160, 112), "paper: §4.2.1, 1.43 mm"),
    "fullres": Configuration(
        # Predicting takes a fraction of what training takes: no windows, no seams.
        (160, 224, 160),
        (160, 224, 160),
        "ours: 1 mm",
        _NARROWER,
    ),
    "small": Configuration((80, 112, 80), (80, 112, 80), "ours: 2 mm, to fit one GPU", _NARROWER),
    "demo": Configuration(
        (40, 56, 40),
        (40, 56, 40),
        "ours: 4 mm, minutes on a CPU",
        training={
            "steps": (1000, "ours: half an hour of CPU time (docs/quality.md); far from converged"),
            "learning_rate": (2e-3, "ours: few steps want large ones"),
            "decay_power": (0.9, "ours: as nnU-Net (docs/quality.md)"),
            "validations": (7, "ours: enough to watch"),
            "keep": ("last", "ours: pasted lesions chose earlier, worse weights (docs/quality.md)"),
            "validation_fraction": (0.15, "ours: 5 % of a small cohort is no patient"),
        },
    ),
}


def candidates(name: str | None, kind: str) -> list[tuple[str, float]]:
    """(configuration, share of the widths) to try on a kind of device, the best first.

    Parameters
    ----------
    name : the user's choice, or None: on a CPU that is ``demo``, since the others take days there;
        ``fullres`` is never chosen for the user
    kind : "cuda", "mps" or "cpu"

    Raises
    ------
    PlansError
        for an unknown name; the message lists the known ones.
    """
    if name is not None and name not in CONFIGURATIONS:
        raise PlansError("configuration", name, f"known: {', '.join(CONFIGURATIONS)}")
    names = [name] if name else ["demo"] if kind == "cpu" else ["paper", "small", "demo"]
    return [(n, width) for n in names for width in CONFIGURATIONS[n].widths]
