"""Practical thresholds: what a small share of healthy brains exceeds."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median_high

import numpy as np

from dal_auto.case import BoolArray, FloatArray
from dal_auto.datasets.drawn import is_drawn
from dal_auto.errors import UsageError
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import Checkpoint, Older, threshold_key, threshold_sequence
from dal_auto.methods.method import Method
from dal_auto.scoring.joint import joint_key, joint_score
from dal_auto.scoring.metrics import threshold_at_false_positive_rate
from dal_auto.scoring.plan import ScoringPlan
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.standard_cases import CaseRecord, healthy_records, read_case
from dal_auto.workers.bars import progress

logger = logging.getLogger(__name__)

#: More cases would hardly move the threshold.
CALIBRATION_CASES = 32
#: What the sequences of drawn heads get wrong coincides less than in real people. Their joint
#: threshold is half way to 1 in the logarithm: as it is, it marked 7.0 ml in the one real healthy
#: person at hand, half way 1.5 ml (docs/model-card.md).
_TRUST_IN_DRAWN = 0.5
#: The threshold of maps that are 0 nearly everywhere: the least score above 0 that is told from it.
_LEAST = float(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class Thresholds:
    """Practical thresholds.

    Parameters
    ----------
    scores : "sequence", or "sequence/variant" where the method has several → threshold
    joint : `joint_key` of several sequences → threshold of their joint map, in multiples of theirs
    joint_trust : `joint_key` → power that its threshold was raised to: 1, or less for drawn heads
    """

    scores: Mapping[str, float]
    joint: Mapping[str, float]
    joint_trust: Mapping[str, float]


def calibration_records(
    records: Iterable[CaseRecord], sequences: Iterable[str]
) -> list[CaseRecord]:
    """Of each sequence, and of each set of them that has a joint map, the first
    `CALIBRATION_CASES` that have it, in their order."""
    names, counts, chosen = tuple(sequences), Counter[tuple[str, ...]](), []
    for record in records:
        there = [name for name in names if name in record.sequences]
        sets = [one for size in range(len(there)) for one in combinations(there, size + 1)]
        if any(counts[one] < CALIBRATION_CASES for one in sets):
            counts.update(sets)
            chosen.append(record)
    return chosen


@dataclass(frozen=True, eq=False)
class HealthyCases:
    """Healthy cases that belong together, such as those of one scanner.

    Parameters
    ----------
    records : ideally none that was trained on; of many, `calibration_records`
    drawn : whether they are drawn heads, whose joint thresholds are trusted half way
    only : the sequences that they give thresholds of, and of joint maps with one of these; None for
        all
    """

    records: Sequence[CaseRecord]
    drawn: bool = False
    only: Collection[str] | None = None

    @property
    def trust(self) -> float:
        return _TRUST_IN_DRAWN if self.drawn else 1.0


def practical_thresholds(method: Method, groups: Sequence[HealthyCases], device: str) -> Thresholds:
    """Score that a stated share of the brain voxels of a healthy case exceeds: of each sequence,
    and of the joint map of any of them.

    It is the median over the cases: of at least half of them no larger share is marked. Of all
    voxels together one odd head would decide, which has more high scores than all others. Of
    several groups the highest median counts, so that this holds in each of them.
    """
    measured = [_measured(method, group, device) for group in groups]
    thresholds: dict[str, float] = {}
    own: dict[str, str] = {}
    for found, keys, _ in measured:
        own |= keys
        for key, values in found.items():
            thresholds[key] = max(thresholds.get(key, 0.0), median_high(values))
    of_sequences = {sequence: thresholds[key] for sequence, key in own.items()}
    joint: dict[str, tuple[float, float]] = {}
    for group, (_, _, brains) in zip(groups, measured, strict=True):
        medians = _joint_thresholds(brains, of_sequences, method.plans.scoring, group.only)
        for name, value in medians.items():
            one = value**group.trust, group.trust
            joint[name] = max(joint.get(name, one), one)
    return Thresholds(
        thresholds,
        {name: value for name, (value, _) in joint.items()},
        {name: trust for name, (_, trust) in joint.items()},
    )


def _measured(
    method: Method, group: HealthyCases, device: str
) -> tuple[Mapping[str, list[float]], Mapping[str, str], list[_Scores]]:
    """Of healthy cases: key of a threshold → what each case asks for; sequence → the key of the
    score that joint maps are made of; and these scores."""
    rate = method.plans.scoring.false_positive_rate
    found: dict[str, list[float]] = defaultdict(list)
    keys: dict[str, str] = {}
    brains: list[_Scores] = []
    chosen = calibration_records(group.records, method.plans.sequences)
    for record in progress("practical thresholds", "case", chosen):
        case = read_case(record)
        scores, shown = {}, {}
        for sequence in (name for name in method.plans.sequences if name in case.sequences):
            prediction = predict(method, case, sequence, device, compare=True)
            brain = case.brain_of(sequence)
            # The first score of a method is the one that joint maps are made of.
            first, score = next(iter(prediction.anomaly.items()))
            if group.only is None or sequence in group.only:
                keys[sequence] = threshold_key(sequence, first)
                for variant, one in prediction.anomaly.items():
                    key = threshold_key(sequence, variant)
                    found[key].append(_exceeded(one[brain], rate))
            scores[sequence] = score[case.brain_mask]
            shown[sequence] = brain[case.brain_mask]
        brains.append(_Scores(scores, shown))
    return found, keys, brains


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of a case's brain voxels: each sequence's score, and where it shows them."""

    scores: Mapping[str, FloatArray]
    shown: Mapping[str, BoolArray]


def _joint_thresholds(
    brains: Sequence[_Scores],
    thresholds: Mapping[str, float],
    plan: ScoringPlan,
    only: Collection[str] | None,
) -> dict[str, float]:
    """The same of the joint map of every two or more sequences, over the cases that have them.

    Parameters
    ----------
    only : see `HealthyCases`
    """
    found: dict[str, float] = {}
    # Of a method that marks nothing in healthy brains nothing can be said.
    marking = [name for name, threshold in thresholds.items() if threshold > _LEAST]
    for count in range(2, len(marking) + 1):
        for sequences in combinations(marking, count):
            if only is not None and not set(sequences) & set(only):
                continue
            values = [
                _exceeded(
                    joint_score(
                        {name: case.scores[name] for name in sequences},
                        thresholds,
                        plan.joint,
                        plan.joint_weights,
                        case.shown,
                    ),
                    plan.false_positive_rate,
                )
                for case in brains
                if set(sequences) <= set(case.scores)
            ]
            if values and (threshold := median_high(values)) > _LEAST:
                found[joint_key(sequences)] = threshold
    return found


def _exceeded(scores: FloatArray, rate: float) -> float:
    """The least score that no larger share of these voxels exceeds."""
    counts = ScoreCounts.from_volume(scores, np.zeros(scores.shape, bool))
    return threshold_at_false_positive_rate(counts, rate)


def recalibrated(
    checkpoint: Checkpoint, datasets: Mapping[str, Sequence[CaseRecord]], device: str
) -> Checkpoint:
    """The same model with the thresholds of other healthy people, such as a lab's own controls.

    A sequence that none of them has keeps its threshold, and so do the joint maps of sequences that
    no case has together: theirs are in multiples of the sequences' own, whoever gave these.

    Parameters
    ----------
    datasets : name → its cases; those with a lesion mask are no healthy ones, and left out. Of
        several datasets, such as a lab's scanners, the highest threshold counts

    Raises
    ------
    UsageError
        if a dataset has no healthy case, or a sequence is in none of them and has no threshold to
        keep.
    """
    known = checkpoint.plans.sequences
    chosen = {name: _healthy(name, records, known) for name, records in datasets.items()}
    together = [record for records in chosen.values() for record in records]
    names = " and ".join(chosen)
    kept = _to_keep(checkpoint, [set(record.sequences) for record in together])
    lacking = sorted(set(known).difference(*(record.sequences for record in together)))
    if without := [name for name in lacking if name not in kept]:
        raise UsageError(
            f"no healthy case of {names} has {', '.join(without)}, and the model has no "
            "threshold of it that could be kept. Add cases that have it."
        )
    sets = {key: set(key.split("+")) for key in kept}
    if least := [key for key, one in sets.items() if not any(o < one for o in sets.values())]:
        logger.warning(
            "no healthy case of %s has %s: the thresholds of these, and of joint maps with these, "
            "stay as they were (%s)",
            names,
            ", or ".join(key.replace("+", " and ") for key in least),
            checkpoint.sources,
        )
    groups = [HealthyCases(records, is_drawn(name)) for name, records in chosen.items()]
    found = practical_thresholds(checkpoint.build(device), groups, device)
    scores = {k: v for k, v in checkpoint.thresholds.items() if threshold_sequence(k) in kept}
    joint = {k: v for k, v in checkpoint.joint_thresholds.items() if k in kept}
    counted = [
        f"{len(records)} healthy case{'s' * (len(records) != 1)} of {name}"
        for name, records in chosen.items()
    ]
    return replace(
        checkpoint,
        thresholds=scores | dict(found.scores),
        joint_thresholds=joint | dict(found.joint),
        joint_trust=found.joint_trust,
        threshold_source=" or of ".join(counted) + (", the highest" if len(counted) > 1 else ""),
        older=kept,
    )


def _healthy(
    dataset: str, records: Iterable[CaseRecord], sequences: Sequence[str]
) -> list[CaseRecord]:
    """The cases of a dataset that thresholds are found on."""
    healthy = healthy_records(records)
    healthy = [record for record in healthy if set(record.sequences) & set(sequences)]
    if not healthy:
        raise UsageError(f"{dataset} has no healthy case with {' or '.join(sequences)}")
    return calibration_records(healthy, sequences)


def _to_keep(checkpoint: Checkpoint, cases: Sequence[set[str]]) -> dict[str, Older]:
    """Sequences and joint keys that have a threshold, and that no case shows.

    Parameters
    ----------
    cases : the sequences of each
    """
    keys = [*sorted(checkpoint.calibrated), *checkpoint.joint_thresholds]
    return {
        key: Older(checkpoint.source_of(key), checkpoint.trust_of(key))
        for key in keys
        if not any(set(key.split("+")) <= case for case in cases)
    }
