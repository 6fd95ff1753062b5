"""What methods find, from the score counts that `dal_evaluate` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from dal_auto.evaluation.scores import GRID, ScoredImage
from dal_auto.scoring.bootstrap import FloatArray, resampled_average_precision
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.lesionwise import sensitivity_by_volume
from dal_auto.scoring.metrics import average_precision, best_mean_dice

#: Edges of the classes of lesions: what the grid of 4 mm hardly shows, plaques, tumours.
SIZES_ML = (0.0, 1.0, 10.0, np.inf)


@dataclass(frozen=True, eq=False)
class Found:
    """A variant of a method on the cases of a group, in one sequence.

    Parameters
    ----------
    seed : of the training
    precision, dice : pooled AP, and the best mean DSC at one threshold, in percent
    resample : AP of each resample of the cases; it takes time, and few are asked for
    """

    method: str
    seed: int
    group: str
    sequence: str
    variant: str
    cases: int
    precision: float
    dice: float
    resample: Callable[[], FloatArray]

    @cached_property
    def resampled(self) -> FloatArray:
        """AP in percent of each resample of the cases."""
        return 100 * self.resample()


def found_by(images: Sequence[ScoredImage], groups: Mapping[str, Sequence[str]]) -> Iterator[Found]:
    """Every variant of every method, on every group and sequence.

    Parameters
    ----------
    groups : what tables call it → datasets that are pooled
    """
    for group, datasets in groups.items():
        mine = [one for one in images if one.dataset in datasets and one.has_lesion]
        for sequence in dict.fromkeys(one.sequence for one in mine):
            there = [one for one in mine if one.sequence == sequence]
            for run in dict.fromkeys(one.run for one in there):
                cases = sorted((o for o in there if o.run == run), key=lambda o: o.case_id)
                for variant in cases[0].variants:
                    packed = CaseCounts.pack(one.counts(variant, GRID) for one in cases)
                    patients = [one.patient_id for one in cases]
                    yield Found(
                        method=run.method,
                        seed=run.seed,
                        group=group,
                        sequence=sequence,
                        variant=variant,
                        cases=len(cases),
                        precision=100 * average_precision(packed.pooled()),
                        dice=100 * best_mean_dice(packed)[0],
                        resample=partial(resampled_average_precision, packed, patients),
                    )


def found_by_size(
    images: Sequence[ScoredImage], thresholds: Mapping[str, float], variant: str
) -> list[tuple[int, float]]:
    """(lesions, share found at the practical threshold) of each class of `SIZES_ML`.

    Parameters
    ----------
    thresholds : sequence → the run's practical threshold of this variant
    """
    numbers = np.zeros(len(SIZES_ML) - 1, int)
    hits = np.zeros(len(numbers))
    for one in images:
        lesions, threshold = one.record.variants[variant].lesions, thresholds[one.sequence]
        for place, (_, _, number, share) in enumerate(
            sensitivity_by_volume(lesions, threshold, SIZES_ML)
        ):
            if number:
                numbers[place] += number
                hits[place] += number * share
    shares = np.divide(hits, numbers, out=np.full(len(hits), np.nan), where=numbers > 0)
    return list(zip(numbers.tolist(), shares.tolist(), strict=True))
