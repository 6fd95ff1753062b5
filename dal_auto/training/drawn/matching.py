"""Histogram matching on the device, for drawn images, as `histogram_matching` is for real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Steps of the table that stands for a curve; its error is far below the noise.
_STEPS = 4096


@dataclass(frozen=True)
class Matching:
    """Where percentiles belong.

    Parameters
    ----------
    percentiles : in percent, increasing
    landmarks : sequence → intensities in [0, 1]
    """

    percentiles: tuple[float, ...]
    landmarks: Mapping[str, Sequence[float]]

    def curve(self, points: Tensor, sequences: tuple[str, ...]) -> Curve:
        """The curve of every image.

        Parameters
        ----------
        points : (subject, sequence, point) intensities inside the brain
        """
        levels = torch.tensor(self.percentiles, device=points.device) / 100
        places = torch.quantile(points, levels, dim=-1).movedim(0, -1)
        goals = torch.tensor([list(self.landmarks[name]) for name in sequences]).to(points)
        return Curve.through(places, goals.expand_as(places), points)


@dataclass(frozen=True, eq=False)
class Curve:
    """A piecewise linear map per image, as a table over evenly spaced intensities.

    Parameters
    ----------
    low, step : (subject, sequence, 1) first intensity of the table, and between two of them
    table : (subject, sequence, entry) mapped intensities, not clipped
    """

    low: Tensor
    step: Tensor
    table: Tensor

    @classmethod
    def through(cls, places: Tensor, goals: Tensor, points: Tensor) -> Curve:
        """From `places` to `goals`, both (subject, sequence, landmark); beyond the outer ones the
        map goes on with their slope, as far as `points` reach and a half more."""
        # Equal percentiles would make a step of no width.
        places = (places + torch.arange(places.shape[-1], device=places.device) * 1e-6).contiguous()
        lowest, highest = points.amin(-1, keepdim=True), points.amax(-1, keepdim=True)
        margin = (highest - lowest) / 2
        low, step = lowest - margin, (highest - lowest + 2 * margin) / (_STEPS - 1)
        entries = low + step * torch.arange(_STEPS, device=places.device)
        piece = (torch.searchsorted(places, entries) - 1).clamp(0, places.shape[-1] - 2)
        slope = goals.diff(dim=-1) / places.diff(dim=-1)
        table = goals.gather(-1, piece) + slope.gather(-1, piece) * (
            entries - places.gather(-1, piece)
        )
        return cls(low, step, table)

    def __call__(self, values: Tensor) -> Tensor:
        """(subject, sequence, …) intensities → mapped."""
        flat = values.flatten(2)
        entry = ((flat - self.low) / self.step + 0.5).long().clamp(0, self.table.shape[-1] - 1)
        return self.table.gather(-1, entry).reshape(values.shape)
