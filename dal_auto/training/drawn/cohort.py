"""A cohort whose images are drawn anew at every step, on the device that trains."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch

from dal_auto.methods.method import Batch
from dal_auto.plans import Plans
from dal_auto.training.drawn.corruption import draw_lesions
from dal_auto.training.drawn.images import ImageDraw
from dal_auto.training.drawn.matching import Matching
from dal_auto.training.drawn.pool import Pool, tissues_of
from dal_auto.training.loading import Share

_WHOLE = 255


@dataclass(frozen=True)
class DrawnCohort:
    """Anatomies of the training heads, and plans that say how they are imaged.

    Parameters
    ----------
    pool : filled before the first batch
    plans : landmarks, configuration, sequences, and the share of corrupted subjects
    """

    pool: Pool
    plans: Plans

    def batches(self, seed: int, start: int, device: str, share: Share) -> Generator[Batch]:
        """Batches from step `start` on, without end: `training.accumulation` for each step."""
        step = start
        while True:
            for number in range(self.plans.training.accumulation):
                yield self.batch((seed, step, number * share.processes + share.rank), device)
            step += 1

    def batch(self, seed: tuple[int, ...], device: str) -> Batch:
        """The batch of a seed: another each time, the same for the same seed on one kind of device.

        Parameters
        ----------
        seed : whole numbers ≥ 0: the run's seed, the step, the place in the step
        """
        plans, configuration = self.plans, self.plans.configuration
        rng = np.random.default_rng(seed)
        subjects = configuration.batch_subjects
        chosen = rng.choice(len(self.pool), subjects, replace=len(self.pool) < subjects)
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        shares = self.pool.shares(chosen.tolist()).to(device).float() / _WHOLE
        brain = shares.sum(1) > 0.5
        lesions = draw_lesions(
            brain,
            len(plans.sequences),
            configuration.spacing_mm,
            plans.training.corruption,
            generator,
        )
        matching = Matching(plans.preprocessing.percentiles, plans.intensity.landmarks)
        draw = ImageDraw(subjects, plans.sequences, configuration.spacing_mm, matching, generator)
        images, clean = draw.images(shares, brain, lesions)
        return Batch(
            images,
            brain[:, None].float(),
            torch.ones(images.shape[:2], dtype=torch.bool, device=device),
            clean=clean,
            tissue=torch.where(brain, tissues_of(shares).argmax(1), -1),
        )
