"""One standard case, one sequence → post-processed anomaly map on the standard grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dal_auto.case import BoolArray, FloatArray, Shape, StandardCase
from dal_auto.inference.sliding_window import in_windows
from dal_auto.inference.within_memory import within_memory
from dal_auto.methods.method import Illustrated, Method, Tile
from dal_auto.networks.precision import half_precision
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
    to_standard,
)
from dal_auto.scoring.plan import ScoringPlan
from dal_auto.scoring.postprocessing import postprocess


@dataclass(frozen=True, eq=False)
class Prediction:
    """All on the standard grid of 1 mm, (x, y, z) float32.

    Parameters
    ----------
    image : the matched input in [0, 1]
    anomaly : variant → post-processed score ≥ 0
    pseudo_healthy : in [0, 1], where the method has one
    extras : further volumes of the method, by name
    vectors : (n,) what the method says of the image, by name
    """

    image: FloatArray
    anomaly: Mapping[str, FloatArray]
    pseudo_healthy: FloatArray | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)


@torch.no_grad()
def predict(
    method: Method, case: StandardCase, sequence: str, device: str, *, compare: bool = False
) -> Prediction:
    """Ask `method` for the anomalies of one sequence of `case`.

    The score is taken on the configuration's grid, brought to 1 mm, and filtered there with the
    plans' kernels in mm (the paper leaves open on which grid it filters). The method sees the brain
    as far as the sequence shows it; elsewhere the score is 0.

    Parameters
    ----------
    compare : give the maps of a method whose paper filters otherwise as its paper leaves them, too;
        the name of such a variant ends in "own"

    Raises
    ------
    OutOfMemory
        if no memory suffices, see `within_memory`.
    """
    return within_memory(
        method,
        device,
        lambda where, window: _predicted(method, case, sequence, where, window, compare=compare),
    )


def _predicted(
    method: Method, case: StandardCase, sequence: str, device: str, window: Shape, *, compare: bool
) -> Prediction:
    plans = method.plans
    image, shown = matched_image(case, sequence, plans), case.brain_of(sequence)
    found = method.detect(
        *on_the_grid(image, shown, plans, device), sequence, windows_of(plans, device, window)
    )
    guide, brain = image.to(device), torch.from_numpy(shown).to(device)
    scores = {variant: to_standard(score, plans) for variant, score in found.scores.items()}
    anomaly = {
        variant: filtered(score, guide, brain, plans.scoring) for variant, score in scores.items()
    }
    if compare and method.own_postprocessing:
        for variant, score in scores.items():
            anomaly[f"{variant}-own" if variant else "own"] = _array(score * brain)
    healthy = found.pseudo_healthy
    return Prediction(
        image=image.numpy(),
        anomaly=anomaly,
        pseudo_healthy=None if healthy is None else _array(to_standard(healthy, plans) * brain),
        extras={name: _array(to_standard(v, plans)) for name, v in found.extras.items()},
        vectors={name: _array(v) for name, v in found.vectors.items()},
    )


@torch.no_grad()
def figure_volumes(
    method: Method, case: StandardCase, sequence: str, device: str
) -> dict[str, FloatArray]:
    """Volumes that only figures want, by name, as `Prediction.extras`; of a method that learned
    nothing for them, none.

    Raises
    ------
    OutOfMemory
        if no memory suffices, see `within_memory`.
    """
    if not isinstance(method, Illustrated) or not method.figure_tensors:
        return {}
    plans, illustrated = method.plans, method
    image = matched_image(case, sequence, plans)

    def volumes(where: str, window: Shape) -> dict[str, Tensor]:
        given = on_the_grid(image, case.brain_of(sequence), plans, where)
        return illustrated.figure_volumes(*given, sequence, windows_of(plans, where, window))

    found = within_memory(method, device, volumes)
    return {name: _array(to_standard(volume, plans)) for name, volume in found.items()}


def on_the_grid(
    image: Tensor, brain: BoolArray, plans: Plans, device: str
) -> tuple[Tensor, Tensor]:
    """Image and brain mask as the method sees them."""
    small = image_to_configuration(image, brain, plans)
    return small.to(device), mask_to_configuration(brain, plans).to(device)


def windows_of(plans: Plans, device: str, window: Shape | None = None) -> Tile:
    """How a network runs over a volume on `device`: in windows, by default the plans', and in half
    precision where it was trained so."""
    cuda = device.startswith("cuda")
    half = half_precision(device) if cuda else torch.float16  # elsewhere it is off

    def run(network: Callable[[Tensor], Tensor], volume: Tensor) -> Tensor:
        with torch.autocast(device.split(":")[0], half, enabled=plans.training.amp and cuda):
            return in_windows(network, volume, window or plans.configuration.window)

    return run


def filtered(
    score: Tensor,
    image: Tensor,
    brain: Tensor,
    scoring: ScoringPlan,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> FloatArray:
    """The final map of a score, as the plans filter it.

    Parameters
    ----------
    score, image : (x, y, z), on one grid
    brain : the same, bool
    spacing_mm : of that grid; by default the standard one's
    """
    return _array(
        postprocess(
            score,
            image,
            brain,
            spacing_mm=spacing_mm,
            min_filter_mm=scoring.min_filter_mm,
            mean_filter_mm=scoring.mean_filter_mm,
            guided_mm=scoring.guided_mm,
            guided_epsilon=scoring.guided_epsilon,
            erosion_mm=scoring.erosion_mm,
        )
    )


def _array(volume: Tensor) -> FloatArray:
    return np.ascontiguousarray(volume.float().cpu().numpy())
