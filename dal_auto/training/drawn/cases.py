"""Drawn heads as standard cases of 1 mm, fixed once: landmarks, validation and thresholds.

They go the way of real cases from there on: read, matched and brought to the grid by the same code.
"""

from __future__ import annotations

import numpy as np
import torch

from dal_auto.case import Geometry, StandardCase
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import ATLAS_GRID
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.training.drawn.anatomy import draw_anatomy
from dal_auto.training.drawn.contrasts import known_sequences
from dal_auto.training.drawn.heads import Head
from dal_auto.training.drawn.images import ImageDraw

_WHOLE = 255


def draw_case(
    head: Head, dataset: str, number: int, plan: PreprocessingPlan, seed: tuple[int, ...]
) -> StandardCase:
    """A healthy case of all sequences that can be drawn; its patient is the source head.

    Parameters
    ----------
    number : of the case among those of the head
    seed : whole numbers ≥ 0 that decide everything
    """
    shares = torch.from_numpy(draw_anatomy(head, plan.target_shape, (*seed, 0)))[None].float()
    shares /= _WHOLE
    brain = shares.sum(1) > 0.5
    state = int(np.random.default_rng((*seed, 1)).integers(2**62))
    generator = torch.Generator().manual_seed(state)
    sequences = known_sequences()
    draw = ImageDraw(1, sequences, (1.0, 1.0, 1.0), None, generator)
    images = draw.unmatched(shares, brain)[0].clamp(min=0).numpy()
    mask = brain[0].numpy()
    grid = centre_crop_or_pad(ATLAS_GRID, plan.target_shape)
    return StandardCase(
        dataset=dataset,
        case_id=f"{head.name}_{number}",
        patient_id=head.name,
        sequences=sequences,
        images=images,
        brain_mask=mask,
        lesion_mask=None,
        geometry=Geometry(dict.fromkeys(sequences, grid), dict.fromkeys(sequences, np.eye(4))),
        scale=dict.fromkeys(sequences, 1.0),
        percentiles={
            name: brain_percentiles(image, mask, plan.percentiles)
            for name, image in zip(sequences, images, strict=True)
        },
        quality={"brain_ml": round(float(mask.sum()) / 1000, 1)},
        steps=(f"drawn from {head.name}",),
    )
