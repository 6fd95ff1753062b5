"""What follows N4, step by step, and how well the filtered intensity finds a lesion after each."""

from __future__ import annotations

import numpy as np
import torch
from shipped_parts.scores import filtered, percent

from dal_auto.case import BoolArray, FloatArray
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import image_to_configuration, to_standard
from dal_auto.preprocessing.histogram_matching import brain_percentiles, match_histogram
from dal_auto.scoring.pooled_curve import ScoreCounts
from preservation_parts.ways import PLAN

GRIDS = {"2 mm": (80, 112, 80), "4 mm": (40, 56, 40)}
AFTER_N4 = ("matched", *GRIDS)
#: What is dark is bright from here, in units of the 99.9th percentile of the brain.
DARK_FROM = 1.2


def steps_after_n4(
    corrected: FloatArray, sequence: str, brain: BoolArray, plans: Plans
) -> dict[str, FloatArray]:
    """Step of `AFTER_N4` → the image after it, (x, y, z) of 1 mm."""
    percentiles = brain_percentiles(corrected, brain, PLAN.percentiles)
    landmarks = plans.intensity.landmarks[sequence]
    matched = match_histogram(corrected, brain, percentiles, landmarks)
    found = {"matched": matched}
    for name, shape in GRIDS.items():
        grid = plans.configuration.model_copy(update={"input_shape": shape})
        coarser = plans.model_copy(update={"configuration": grid})
        small = image_to_configuration(torch.from_numpy(matched), brain, coarser)
        found[name] = to_standard(small, coarser).numpy() * brain
    return found


def intensity_precision(
    image: FloatArray, lesion: BoolArray, brain: BoolArray, plans: Plans
) -> float:
    """Average precision in % of the filtered intensity, in its better polarity."""
    unit = image / np.percentile(image[brain], 99.9)
    sides = (unit, np.maximum(DARK_FROM - unit, 0) * brain)
    return max(
        percent(ScoreCounts.from_volume(filtered(side, brain, plans.scoring), lesion))
        for side in sides
    )
