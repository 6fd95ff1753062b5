"""Which checkpoint is the best: the one that finds lesions best, by pooled average precision.

The paper selects on 64 random subjects of BraTS-GLI (§4.2.1). Where the user names such a dataset,
so does this; else lesions are pasted into the held-out healthy cases. Scores are post-processed
with the plans' kernels, on the configuration's grid: cheap, and the same for all checkpoints of a
run; evaluation brings them to 1 mm first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dal_auto import paths
from dal_auto.datasets.overlap import find_overlap, shared_cases
from dal_auto.errors import UsageError
from dal_auto.inference.predictor import filtered, windows_of
from dal_auto.methods.method import Method
from dal_auto.plans import Plans
from dal_auto.preprocessing.same_chain import check_chain
from dal_auto.preprocessing.stored import case_records, folder_of
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.standard_cases import CaseRecord
from dal_auto.training.cohort import Cohort, cohort_of
from dal_auto.training.synthetic_lesions import paste_lesions

#: Images with pasted lesions: of few held-out cases, each is taken several times.
_PASTED = 8
_MOST_PASTED = 16
_SEED = 0


@dataclass(frozen=True)
class Selection:
    """Images with lesions that choose among the checkpoints of a run.

    Parameters
    ----------
    cohort : annotated cases, or healthy ones into which lesions are pasted
    annotated : which of the two
    """

    cohort: Cohort
    annotated: bool

    @property
    def case_ids(self) -> list[str]:
        """The annotated cases: they had a say, and do not belong in a fair test."""
        return [record.case_id for record in self.cohort.records] if self.annotated else []

    def __str__(self) -> str:
        if self.annotated:
            dataset = self.cohort.records[0].dataset
            return f"{len(self.cohort)} annotated cases of {dataset}"
        return f"lesions pasted into {len(self.cohort)} held-out healthy cases"

    def images(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
        """Sequence → (x, y, z) of the sequences that are there, brain mask, lesion mask."""
        spacing_mm = self.cohort.plans.configuration.spacing_mm
        names, count = self.cohort.plans.sequences, len(self.cohort)
        looks = count if self.annotated else count * -(-_PASTED // count)
        for look in range(looks):
            index = look % count
            images, mask = self.cohort.volumes(index)
            brain = mask[0] > 0
            if self.annotated:
                lesion = self.cohort.lesion(index)
            else:
                images, lesion = paste_lesions(images, brain, spacing_mm, seed=_SEED + look)
            there = zip(names, images, self.cohort.present(index), strict=True)
            yield {name: image for name, image, present in there if present}, brain, lesion


def choose_selection(plans: Plans, held_out: Cohort) -> Selection | None:
    """What `plans` select on; None where no dataset is named, and either no healthy case is held
    out or the last weights are to be kept.

    Raises
    ------
    UsageError
        if the dataset that is named has no annotated case with one of the sequences, or lies in
        another space.
    """
    if plans.training.select_on:
        return Selection(_annotated(plans), annotated=True)
    if not len(held_out) or plans.training.keep == "last":
        return None
    few = Cohort(held_out.records[:_MOST_PASTED], held_out.plans, held_out.cache)
    return Selection(few, annotated=False)


def _annotated(plans: Plans) -> Cohort:
    dataset = plans.training.select_on
    check_chain(dataset, plans.preprocessing)
    apart: frozenset[str] = frozenset()
    if plans.training.select_without_overlap:
        apart = shared_cases(find_overlap(paths.raw()), dataset)
    usable = [
        record
        for record in case_records(dataset)
        if record.has_lesion_mask
        and record.case_id not in apart
        and set(record.sequences) & set(plans.sequences)
    ]
    if not usable:
        raise UsageError(
            f"training.select_on is {dataset}, which has no preprocessed case with a lesion mask "
            f"and one of {', '.join(plans.sequences)}. Name another dataset with --select-on."
        )
    chosen = random_subjects(usable, plans.training.select_subjects)
    return cohort_of(folder_of(dataset), chosen, plans)


def random_subjects(records: list[CaseRecord], count: int) -> list[CaseRecord]:
    """All cases of `count` patients, drawn from a fixed seed: every run selects on the same."""
    patients = sorted({record.patient_id for record in records})
    drawn = set(np.random.default_rng(_SEED).permutation(patients)[:count])
    return [record for record in records if record.patient_id in drawn]


@torch.no_grad()
def selection_precision(method: Method, selection: Selection, device: str) -> dict[str, float]:
    """Pooled AP over all voxels: "AP", the mean over sequences, and "AP_<sequence>" of each.

    Of a method with several variants, the best one's.
    """
    counts: dict[tuple[str, str], ScoreCounts] = {}
    for images, brain, lesion in selection.images():
        for sequence, image in images.items():
            for variant, score in _scores(method, image, brain, sequence, device).items():
                one = ScoreCounts.from_volume(score, lesion)
                key = sequence, variant
                counts[key] = counts[key] + one if key in counts else one
    best: dict[str, float] = {}
    for (sequence, _), counted in counts.items():
        name = f"AP_{sequence}"
        best[name] = max(best.get(name, 0.0), average_precision(counted))
    return {"AP": float(np.mean(list(best.values()))), **best}


def _scores(
    method: Method, image: np.ndarray, brain: np.ndarray, sequence: str, device: str
) -> dict[str, np.ndarray]:
    """Variant → post-processed score (x, y, z) on the configuration's grid."""
    plans = method.plans
    volume, mask = (torch.from_numpy(array).to(device) for array in (image, brain))
    found = method.detect(volume, mask.float(), sequence, windows_of(plans, device))
    return {
        variant: filtered(score, volume, mask, plans.scoring, plans.configuration.spacing_mm)
        for variant, score in found.scores.items()
    }
