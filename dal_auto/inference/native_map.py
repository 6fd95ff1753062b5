"""The map of each sequence, and the joint one, in a scan's own space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid, StandardCase
from dal_auto.errors import CaseFailed
from dal_auto.inference.export import to_native
from dal_auto.inference.measure import Component, components
from dal_auto.inference.model import Model
from dal_auto.inference.predictor import Prediction
from dal_auto.preprocessing.reference import reference_of
from dal_auto.scoring.joint import joint_score
from dal_auto.scoring.pooled_curve import rounded

#: What the map of all sequences together is called where the others have a sequence's name.
JOINT = "joint"


@dataclass(frozen=True, eq=False)
class NativeMap:
    """An anomaly map in the space of a scan.

    Parameters
    ----------
    name : a sequence, or "joint"
    on : the sequence in whose space it lies
    grid : of that scan
    score : (x, y, z) float32 on `grid`, ≥ 0; of "joint" in multiples of its threshold
    threshold : the score from which on a voxel is in `mask`
    components : see `measure.components`
    brain : (x, y, z) bool, the brain mask on `grid`, as far as the sequence shows it
    prediction : the same on the standard grid
    variant : of the method's scores
    """

    name: str
    on: str
    grid: Grid
    score: FloatArray
    threshold: float
    mask: BoolArray
    components: list[Component]
    brain: BoolArray
    prediction: Prediction
    variant: str

    @property
    def standard_score(self) -> FloatArray:
        """(x, y, z) the score on the standard grid, before it is rounded."""
        return self.prediction.anomaly[self.variant]


def native_maps(
    model: Model, case: StandardCase, predictions: Mapping[str, Prediction]
) -> Iterator[NativeMap]:
    """The map of each sequence, then, if there are several, the joint one.

    Parameters
    ----------
    predictions : by sequence

    Raises
    ------
    CaseFailed
        if the scores are no numbers, or negative.
    """
    for make in map_makers(model, case, predictions):
        yield make()


def map_makers(
    model: Model, case: StandardCase, predictions: Mapping[str, Prediction]
) -> list[Callable[[], NativeMap]]:
    """As `native_maps`, what makes each of them: they may be made side by side."""

    @cache
    def brain(on: str, *, whole: bool) -> BoolArray:
        mask = case.brain_mask if whole else case.brain_of(on)
        return to_native(mask.astype(np.float32), case.geometry, on, model.plans) >= 0.5

    def of_sequence(name: str) -> NativeMap:
        variant = next(iter(predictions[name].anomaly))
        threshold = model.threshold(name, variant)
        seen = brain(name, whole=name not in case.shown)
        return _brought_home(model, case, name, predictions[name], variant, threshold, seen)

    def of_all() -> NativeMap:
        on = reference_of({name: case.geometry.native[name] for name in predictions})
        joint = joint_prediction(model, case, predictions, predictions[on])
        found = _brought_home(model, case, on, joint, "", 1.0, brain(on, whole=True))
        return replace(found, name=JOINT)

    makers: list[Callable[[], NativeMap]] = [partial(of_sequence, name) for name in predictions]
    return [*makers, of_all] if len(makers) > 1 else makers


def map_names(sequences: Iterable[str]) -> tuple[str, ...]:
    """What the maps of a case are called: its sequences, and of several the joint one."""
    names = tuple(sequences)
    return (*names, JOINT) if len(names) > 1 else names


def joint_prediction(
    model: Model, case: StandardCase, predictions: Mapping[str, Prediction], like: Prediction
) -> Prediction:
    """All sequences' maps as one, on the standard grid; image and restoration are those of `like`.

    The first score of the method counts, as everywhere in the outputs. Where a sequence does not
    show the brain, the others have the say.
    """
    scores, variants = {}, {}
    for sequence, prediction in predictions.items():
        variants[sequence], scores[sequence] = next(iter(prediction.anomaly.items()))
    plan = model.plans.scoring
    score = joint_score(
        scores,
        model.thresholds_in_joint(variants),
        plan.joint,
        plan.joint_weights,
        case.shown,
        model.joint_threshold(predictions),
    )
    return replace(like, anomaly={"": score}, extras={}, vectors={})


def stored(case_id: str, volume: FloatArray) -> FloatArray:
    """Values as they are stored: rounded to float16, for which NIfTI has no type, in float32.

    A mask made of the file is then that which the metrics count, and the file is a third smaller.

    Raises
    ------
    CaseFailed
        if they are no numbers, or negative.
    """
    try:
        return rounded(volume).astype(np.float32)
    except ValueError as error:
        raise CaseFailed(case_id, "export", str(error)) from error


def _brought_home(
    model: Model,
    case: StandardCase,
    on: str,
    prediction: Prediction,
    variant: str,
    threshold: float,
    brain: BoolArray,
) -> NativeMap:
    geometry, plans, grid = case.geometry, model.plans, case.geometry.native[on]
    moved = to_native(prediction.anomaly[variant], geometry, on, plans)
    score = stored(case.case_id, moved)
    mask = score >= threshold
    return NativeMap(
        on, on, grid, score, threshold, mask, components(mask, score, grid), brain, prediction,
        variant,
    )  # fmt: skip
