"""What the figures of quality mean, and from where on a figure is worth a look.

Fixed limits are wide: they name failures of skull stripping and registration, not unusual brains.
Beside them a cohort that is large enough sets its own, from its median and spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

#: A cohort's limit lies this many (robust) standard deviations from its median, …
OUTLIER_SIGMAS = 4.0
#: … and is set from this many cases on.
FEWEST_CASES = 20

Limits = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """A figure, or one per sequence: "bias" stands for ``bias_T1``, ``bias_T2``, …

    Parameters
    ----------
    title : short, for the head of a column; {} is the sequence
    meaning : in words
    bad : the side on which a case is worse than others; None: the cohort sets no limit
    limits : least and most that pass without a flag, whatever the cohort
    least_sigma : the cohort's spread is taken to be at least this: nearly equal cases are alike
    decimals : to show
    """

    title: str
    meaning: str
    bad: Literal["low", "high", "both"] | None = None
    limits: Limits = (-math.inf, math.inf)
    least_sigma: float = 0.0
    decimals: int = 3


#: In the order in which they are shown. The fixed limits are ours, from the few real cases at hand
#: and from poses and fields known to be wrong.
FIGURES: Mapping[str, Figure] = {
    "brain_ml": Figure(
        "brain, ml", "volume of the brain before resampling", "both", (800, 2200), 20.0, 0
    ),
    "atlas_dice": Figure(
        "Dice", "overlap of the brain with the atlas's", "low", (0.80, 1.0), 0.005
    ),
    "leak_share": Figure(
        "leak", "share of the brain mask farther than 10 mm from the atlas's brain", "high",
        (0.0, 0.03), 0.001, 4,
    ),
    "brain_outside_share": Figure(
        "cut off", "share of the brain that the crop cut off", "high", (0.0, 0.02), 0.001, 4
    ),
    "coverage": Figure(
        "{} coverage", "share of the atlas's brain in the image's field of view", "low",
        (0.95, 1.0), 0.005,
    ),
    "mask_beyond_ml": Figure(
        "beyond, ml", "of the brain mask, clearly outside the atlas's brain, before resampling",
        "high", least_sigma=2.0, decimals=1,
    ),
    "mask_missing_ml": Figure(
        "missing, ml", "of the atlas's brain, clearly inside it but not in the brain mask", "high",
        least_sigma=2.0, decimals=1,
    ),
    "masks_rejected": Figure("masks rejected", "brain masks tried before this one", decimals=0),
    "mask_doubtful": Figure(
        "mask doubtful", "1: no brain mask was plausible, this is the best", None, (0, 0), 0, 0
    ),
    "mask_without_t1": Figure(
        "mask without T1", "1: the brain mask was estimated on another sequence", None, (0, 0), 0, 0
    ),
    "atlas_correlation": Figure(
        "{} atlas r", "correlation with the atlas's T1, in blocks of 4 mm", "low", (0.20, 1.0), 0.01
    ),
    "atlas_nmi": Figure(
        "{} atlas NMI", "mutual information with the atlas's T1, in blocks of 4 mm; 0 to 1", "low",
        least_sigma=0.002,
    ),
    "alignment_mm": Figure(
        "{} off, mm", "how far the brain's voxels would move for the sequence to fit T1 best (the "
        "first sequence where there is no T1)", "high", (0.0, 2.0), 0.1, 2,
    ),
    "alignment_nmi": Figure(
        "{} fit NMI", "mutual information with T1 (or the first sequence), in blocks of 2 mm; "
        "0 to 1", "low", least_sigma=0.005,
    ),
    "bias": Figure(
        "{} bias", "coefficient of variation of the smooth field left in the white matter", "high",
        (0.0, 0.12), 0.003,
    ),
    "unlike_atlas_share": Figure(
        "unlike atlas", "share of the brain that was left out of the bias field and of the "
        "percentiles, since it is unlike the atlas's tissue: large lesions, wide ventricles",
        "high", least_sigma=0.01,
    ),
    "bad_voxels": Figure("bad voxels", "negative, infinite or not a number", None, (0, 0), 0, 0),
    "lesion_ml_native": Figure("lesion, ml", "volume of the lesion mask as it came", decimals=2),
    "lesion_ml": Figure("lesion kept, ml", "the same after resampling and crop", decimals=2),
    "lesions_native": Figure("lesions", "number of lesions in the mask as it came", decimals=0),
    "lesions": Figure("lesions kept", "the same after resampling and crop", decimals=0),
    "small_lesion_ml_native": Figure(
        "small lesions, ml", "volume of the small lesions alone, as they came"
    ),
    "small_lesion_ml": Figure("small lesions kept, ml", "the same after resampling and crop"),
    "small_lesions_native": Figure(
        "small lesions", "number of small lesions, as they came", decimals=0
    ),
    "small_lesions": Figure("small lesions kept", "the same after resampling and crop", decimals=0),
    "lesion_outside_brain_share": Figure(
        "lesion outside", "share of the lesion mask outside the brain mask", "high", (0.0, 0.2),
        0.005,
    ),
}  # fmt: skip

#: figure → (least, most) that pass without a flag
LIMITS: Mapping[str, Limits] = {
    name: figure.limits for name, figure in FIGURES.items() if np.isfinite(figure.limits).all()
}


@dataclass(frozen=True)
class Finding:
    """A figure outside a limit: a fixed one, or the cohort's."""

    figure: str
    kind: Literal["limit", "cohort"]
    text: str


def _stem(name: str) -> str | None:
    """The key in `FIGURES` that a figure's name stands under; only some are one per sequence."""
    if name in FIGURES:
        return name
    per_sequence = (stem for stem, figure in FIGURES.items() if "{}" in figure.title)
    return next((stem for stem in per_sequence if name.startswith(f"{stem}_")), None)


def sequence_of(name: str) -> str:
    """The sequence that a figure is of; empty where there is one for the case as a whole."""
    stem = _stem(name)
    return "" if stem is None or stem == name else name.removeprefix(f"{stem}_")


def figure_of(name: str) -> Figure:
    """What a figure's name stands for, its sequence filled into the title."""
    stem = _stem(name)
    if stem is None:
        return Figure(name.replace("_", " "), "")
    figure = FIGURES[stem]
    return replace(figure, title=figure.title.format(name.removeprefix(f"{stem}_")))


def in_order(names: Iterable[str]) -> list[str]:
    """Figures' names in the order of `FIGURES`, unknown ones last."""
    stems = list(FIGURES)

    def place(name: str) -> tuple[int, str]:
        stem = _stem(name)
        return len(stems) if stem is None else stems.index(stem), name

    return sorted(names, key=place)


def findings(
    figures: Mapping[str, float], cohort: Mapping[str, Limits] | None = None
) -> list[Finding]:
    """The figures outside their fixed limits, then those outside the cohort's only.

    Parameters
    ----------
    figures : figure → value; NaN is not measured
    cohort : figure → (least, most), as `cohort_limits` gives them
    """
    fixed, others = [], []
    for name in in_order(figures):
        value = figures[name]
        low, high = figure_of(name).limits
        least, most = (cohort or {}).get(name, (-math.inf, math.inf))
        if value < low or value > high:
            rule = f", not {low:g}" if low == high else f" outside {low:g} to {high:g}"
            fixed.append(Finding(name, "limit", f"{name} {value:g}{rule}"))
        elif value < least or value > most:
            bound = f"{least:.4g} or more" if value < least else f"{most:.4g} or less"
            others.append(Finding(name, "cohort", f"{name} {value:g} (cohort: {bound})"))
    return fixed + others


def flags(figures: Mapping[str, float]) -> list[str]:
    """The figures that lie outside their fixed limits, in words."""
    return [finding.text for finding in findings(figures)]


def deviations(table: pd.DataFrame) -> pd.DataFrame:
    """How many robust standard deviations each figure lies from the median, on its bad side.

    Parameters
    ----------
    table : one row per case, one column per figure, NaN where not measured

    Returns
    -------
    a table of the same shape, ≥ 0; 0 on the good side and where nothing was measured
    """
    result = pd.DataFrame(0.0, index=table.index, columns=table.columns)
    for name in table.columns:
        for sign, median, sigma in _bad_sides(table[name], figure_of(name)):
            result[name] = np.fmax(result[name], sign * (table[name] - median) / sigma)
    return result


def cohort_limits(table: pd.DataFrame) -> dict[str, Limits]:
    """figure → (least, most), by median and spread where at least `FEWEST_CASES` were measured.

    A limit is set on the bad side only; the other end is infinite.

    Parameters
    ----------
    table : one row per case, one column per figure, NaN where not measured
    """
    limits: dict[str, Limits] = {}
    for name in table.columns:
        if table[name].notna().sum() < FEWEST_CASES:
            continue
        low, high = -math.inf, math.inf
        for sign, median, sigma in _bad_sides(table[name], figure_of(name)):
            bound = round(median + sign * OUTLIER_SIGMAS * sigma, 4)
            low, high = (low, bound) if sign > 0 else (bound, high)
        if math.isfinite(low) or math.isfinite(high):
            limits[str(name)] = (low, high)
    return limits


def _bad_sides(values: pd.Series[float], figure: Figure) -> list[tuple[int, float, float]]:
    """Sign, median and spread for every bad side of a figure.

    The spread is 1.4826 × the median distance of the values on that side, so that a skewed figure
    is judged by its own tail; for a symmetric one it is the usual median absolute deviation.
    """
    known = values.dropna()
    signs = {"low": (-1,), "high": (1,), "both": (-1, 1), None: ()}[figure.bad]
    if known.empty:
        return []
    median = float(known.median())
    sides = []
    for sign in signs:
        away = sign * (known - median)
        sides.append((sign, median, max(1.4826 * away[away >= 0].median(), figure.least_sigma)))
    return sides
