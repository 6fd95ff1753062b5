"""What a user asks of a training run, and the run as it was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dal_auto.planning.hardware import Hardware
from dal_auto.planning.memory import Memory
from dal_auto.plans import Plans
from dal_auto.scoring.box_filters import kernel_voxels


@dataclass(frozen=True)
class Wishes:
    """What the user asks for; None and empty mean that the planner chooses.

    Parameters
    ----------
    configuration : a name
    from_file : dotted key → value of a plans file
    assignments : dotted key → value, ``--set``; they win over the file
    """

    sequences: tuple[str, ...] = ("T1", "T2")
    configuration: str | None = None
    method: str = "DAL"
    preset: str = "robust"
    from_file: Mapping[str, Any] = field(default_factory=dict)
    assignments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """What file and ``--set`` come to."""
        return {**self.from_file, **self.assignments}


@dataclass(frozen=True)
class PlannedRun:
    """Plans, and what was known when they were made.

    Parameters
    ----------
    overrides : dotted key → value, wherever the user's wishes differ from the planner's choice
    memory : what the run takes on the hardware's kind of device; None where it cannot be counted
    warnings : what is likely to go wrong
    """

    plans: Plans
    hardware: Hardware
    overrides: Mapping[str, Any]
    memory: Memory | None
    warnings: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether training fits the memory, as far as that can be counted."""
        return self.memory is None or self.memory.training_gb <= self.hardware.memory_gb

    def derived(self) -> list[tuple[str, Any, str]]:
        """(key, value, source) of what follows from the plans and is worth seeing beside them."""
        plans, rows = self.plans, list[tuple[str, Any, str]]()
        if self.memory is not None:
            rows += [
                ("weights", self.memory.weights, "measured: counted"),
                (
                    "memory to train",
                    f"{self.memory.training_gb:.1f} of {self.hardware.memory_gb:.1f} GB",
                    self.memory.source,
                ),
                ("memory to predict", f"{self.memory.prediction_gb:.1f} GB", self.memory.source),
            ]
        configuration, scoring = plans.configuration, plans.scoring
        for name in ("min_filter", "mean_filter", "guided", "erosion"):
            kernel = kernel_voxels(getattr(scoring, f"{name}_mm"), (1.0, 1.0, 1.0))
            rows.append((f"{name} in voxels", list(kernel), f"{name}_mm on the 1 mm grid"))
        sigma_mm = [round(scoring.ssim_sigma_voxels * mm, 2) for mm in configuration.spacing_mm]
        rows.append(("SSIM's σ in mm", sigma_mm, "ssim_sigma_voxels on the configuration's grid"))
        return rows
