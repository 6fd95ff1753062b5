"""How a run is doing on healthy patients that it does not train on, and what its threshold is."""

from __future__ import annotations

import torch

from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import threshold_key
from dal_auto.methods.method import Batch, GradientMethod, Method
from dal_auto.scoring.metrics import threshold_at_false_positive_rate
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.standard_cases import read_case
from dal_auto.training.cohort import Cohort

#: More cases would hardly move the threshold.
CALIBRATION_CASES = 32


@torch.no_grad()
def validate(
    method: GradientMethod, validation: Cohort, training: Cohort, device: str
) -> dict[str, float]:
    """Losses and the method's own figures, averaged over pairs of validation cases.

    Without validation cases the first training cases stand in, which watches for collapse but says
    nothing of generalisation.
    """
    cohort = validation if len(validation) else training
    size = cohort.plans.configuration.batch_subjects
    starts = range(0, min(len(cohort), CALIBRATION_CASES), size)
    method.network.eval()
    totals: dict[str, float] = {}
    for start in starts:
        batch = _pair(cohort, start).to(device)
        figures = method.training_step(batch, method.plans.training.steps) | method.watch(batch)
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + float(value) / len(starts)
    return totals


def first_pair(validation: Cohort, training: Cohort) -> Batch:
    """The cases that pictures show: always the same ones."""
    return _pair(validation if len(validation) else training, 0)


def _pair(cohort: Cohort, start: int) -> Batch:
    size = cohort.plans.configuration.batch_subjects
    return cohort.batch([(start + i) % len(cohort) for i in range(size)])


def practical_thresholds(method: Method, cohort: Cohort, device: str) -> dict[str, float]:
    """Score that a stated share of healthy brain voxels exceeds, per sequence (and variant).

    Parameters
    ----------
    cohort : healthy cases, ideally none that was trained on

    Returns
    -------
    "sequence", or "sequence/variant" where the method has several → threshold
    """
    counts: dict[str, ScoreCounts] = {}
    for record in cohort.records[:CALIBRATION_CASES]:
        case = read_case(record)
        for sequence in (name for name in method.plans.sequences if name in case.sequences):
            found = predict(method, case, sequence, device, compare=True)
            for variant, score in found.anomaly.items():
                key = threshold_key(sequence, variant)
                brain = case.brain_of(sequence)
                one = ScoreCounts.from_volume(score, brain & False, within=brain)
                counts[key] = counts.get(key, ScoreCounts.empty()) + one
    rate = method.plans.scoring.false_positive_rate
    return {key: threshold_at_false_positive_rate(value, rate) for key, value in counts.items()}
