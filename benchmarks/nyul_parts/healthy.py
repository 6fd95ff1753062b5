"""What it costs healthy heads if percentiles are of tissue like the atlas's alone.

Landmarks are learned from the other heads; how far do a head's white and grey matter then lie from
those of other heads? Matching is there to bring them together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dal_auto.case import BoolArray, FloatArray, StandardCase
from dal_auto.plans import IntensityPlan, PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.histogram_matching import brain_percentiles, learn_landmarks
from dal_auto.preprocessing.plausibility import unlike_atlas
from dal_auto.preprocessing.quality.measures import AtlasOnGrid, atlas_on_grid

PERCENTILES = PreprocessingPlan().percentiles
RANGE = IntensityPlan().standard_range
WAYS = ("brain", "like the atlas")
#: Percentiles of the atlas's T1 between which a voxel counts as its grey matter.
GREY_BETWEEN = (25, 55)


@dataclass(frozen=True)
class Head:
    """One image: its percentiles by way, and the median of each tissue."""

    patient: str
    percentiles: dict[str, tuple[float, ...]]
    tissues: dict[str, float]


def measured(case: StandardCase) -> tuple[dict[str, Head], float]:
    """By sequence, and the share of the brain that is left out."""
    template = atlas_on_grid(load_atlas(), case.brain_mask.shape)
    images = {name: case.image(name) for name in case.sequences}
    brains = {name: case.brain_of(name) for name in case.sequences}
    unlike = unlike_atlas(images, brains, template)
    places = {"white": template.white, "grey": _grey(template)}
    heads = {
        name: Head(
            case.patient_id,
            {
                "brain": brain_percentiles(image, brains[name], PERCENTILES),
                "like the atlas": brain_percentiles(image, brains[name] & ~unlike, PERCENTILES),
            },
            {t: _median(image, brains[name] & where) for t, where in places.items()},
        )
        for name, image in images.items()
    }
    return heads, float(unlike.sum() / case.brain_mask.sum())


def _grey(template: AtlasOnGrid) -> BoolArray:
    low, high = np.percentile(template.image[template.brain], GREY_BETWEEN)
    return template.brain & (template.image > low) & (template.image < high)


def _median(image: FloatArray, where: BoolArray) -> float:
    return float(np.median(image[where]))


def spreads(heads: Sequence[Head]) -> dict[str, dict[str, float]]:
    """Way → tissue → standard deviation between heads of its median, matched."""
    found = {}
    for way in WAYS:
        levels: dict[str, list[float]] = defaultdict(list)
        for head in heads:
            others = [o.percentiles[way] for o in heads if o.patient != head.patient]
            landmarks = learn_landmarks(others, RANGE)
            for tissue, level in head.tissues.items():
                levels[tissue].append(float(np.interp(level, head.percentiles[way], landmarks)))
        found[way] = {tissue: round(float(np.std(all_)), 4) for tissue, all_ in levels.items()}
    return found


def report(cases: Sequence[StandardCase]) -> dict[str, object]:
    """Print the table of all sequences; returns its figures."""
    by_sequence, shares = defaultdict(list), []
    for case in cases:
        heads, share = measured(case)
        shares.append(share)
        for name, head in heads.items():
            by_sequence[name].append(head)
    low, middle, high = min(shares), float(np.mean(shares)), max(shares)
    print(f"left out: {middle:.2f} of a healthy brain ({low:.2f}–{high:.2f})")
    figures = {name: spreads(heads) for name, heads in by_sequence.items()}
    for name, ways in figures.items():
        for way, tissues in ways.items():
            words = ", ".join(f"{tissue} ± {value:.3f}" for tissue, value in tissues.items())
            print(f"{name:6} percentiles of {way:16}{words}")
    return {"cases": len(cases), "left_out": round(middle, 3), "spread": figures}
