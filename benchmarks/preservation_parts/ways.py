"""The ways of correcting a bias field that are compared, on the target grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dal_auto.case import BoolArray, FloatArray
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.bias_correction import Corrected, correct_bias_fields
from dal_auto.preprocessing.bias_field import correct_bias_field
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.quality.measures import atlas_on_grid

PLAN = PreprocessingPlan()
ATLAS = load_atlas()
GRID = centre_crop_or_pad(ATLAS.grid, PLAN.target_shape)
TEMPLATE = atlas_on_grid(ATLAS, PLAN.target_shape)
_FORMER_SPACING_MM, _FORMER_LEVELS = 4.0, (50, 50, 50, 50)

Images = Mapping[str, FloatArray]
Brains = Mapping[str, BoolArray]


def of_the_plans(images: Images, brains: Brains, threads: int) -> Corrected:
    """N4 as the plans have it by default."""
    return correct_bias_fields(
        images, brains, GRID, TEMPLATE, plan=PLAN, threads=threads, wanted=True
    )


def former(images: Images, brains: Brains, threads: int) -> Corrected:
    """Four levels over the whole brain: the default before lesions were measured."""
    even = {
        name: correct_bias_field(
            image,
            brains[name],
            GRID,
            estimate_spacing_mm=_FORMER_SPACING_MM,
            iterations=_FORMER_LEVELS,
            threads=threads,
        )
        for name, image in images.items()
    }
    return Corrected(even, np.zeros(GRID.shape, bool), ())


WAYS: Mapping[str, Callable[[Images, Brains, int], Corrected]] = {
    "plans": of_the_plans,
    "former": former,
}
