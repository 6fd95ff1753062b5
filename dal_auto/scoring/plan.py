"""How maps are made of two images: the plans' section `scoring`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from dal_auto.schema import Section, ours, paper
from dal_auto.scoring.joint import JointRule


class ScoringPlan(Section):
    """From two images to an anomaly map, and to a mask."""

    score: Literal["hybrid", "l1", "ssim"] = paper("hybrid", "Eq. 15")
    joint: JointRule = ours(
        "roots",
        "one map of a case: squared mean root of the scores over their thresholds; or mean, max",
    )
    joint_weights: dict[str, Annotated[float, Field(ge=0)]] = ours(
        {"FLAIR": 4.0, "T1": 1.0, "T2": 2.0},
        "how much a sequence counts in a mean: as it finds simulated lesions; 1 where not named",
    )
    ssim_sigma_voxels: float = ours(1.5, "Wang et al. 2004; the paper names no window", gt=0)
    min_filter_mm: float = paper(3.0, "§3.5.2, 3³ at 1 mm", ge=0)
    mean_filter_mm: float = paper(9.0, "§3.5.2, 9³ at 1 mm", ge=0)
    guided_mm: float = paper(0.0, "§3.5.2 has no guided filter", ge=0)
    guided_epsilon: float = ours(
        0.001, "squared intensity: where the image varies less, the score is only smoothed", gt=0
    )
    erosion_mm: float = paper(3.0, "§3.5.2, brain mask eroded with 3³", ge=0)
    false_positive_rate: float = ours(
        0.001,
        "share of a healthy brain above the practical threshold, in the median: 1.3 ml of 1.3 l",
        gt=0,
        lt=1,
    )


#: Keys that the robust preset sets → (value, reason).
_ROBUST: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "min_filter_mm": (0.0, "it only erodes a score of a grid of several mm"),
        "guided_mm": (9.0, "the score takes the borders of the image, finer than its own grid"),
    }
)


def default_scoring(preset: str) -> ScoringPlan:
    """How maps of a preset ("robust", "paper") are made where nobody asked otherwise."""
    changes = {key: value for key, (value, _) in _ROBUST.items()}
    return ScoringPlan().model_copy(update=changes if preset == "robust" else {})


def preset_sources(preset: str) -> dict[str, str]:
    """Dotted key of the plans → why this preset has another value than the paper."""
    robust = _ROBUST if preset == "robust" else {}
    return {f"scoring.{key}": f"ours: {why}" for key, (_, why) in robust.items()}
