"""From records to results: one dataset, one sequence, one run. Only here are score counts read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dal_auto.case import STANDARD_VOXEL_ML
from dal_auto.errors import InputError
from dal_auto.evaluation.result import (
    CaseMetrics,
    CaseResult,
    Metrics,
    PartResult,
    Result,
    keep_result,
    kept_result,
    key_of,
)
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.evaluation.scores import BRAIN, GRID, Records, ScoredImage
from dal_auto.methods.checkpoint import threshold_key
from dal_auto.scoring.bootstrap import (
    best_mean_dice_interval,
    interval,
    resampled_average_precision,
)
from dal_auto.scoring.case_counts import CaseCounts, Packer
from dal_auto.scoring.lesionwise import LesionScore, sensitivity
from dal_auto.scoring.metrics import (
    FloatArray,
    auroc,
    average_precision,
    best_dice,
    best_mean_dice,
    dice_at,
    false_positive_voxels,
    precision_recall,
    score_quantile,
    thinned,
)
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.run_identity import RunIdentity
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)

#: A case's score: as high as the highest thousandth of its brain voxels.
CASE_QUANTILE = 0.999
ALL_CASES = "all cases"
SHARED, SELECTION = "without shared cases", "without selection cases"


@dataclass(frozen=True, eq=False)
class _Variant:
    """Counts of all cases in one variant of the method; `dice` is best at `threshold`."""

    name: str
    members: list[ScoredImage]
    grid: CaseCounts
    brain: CaseCounts
    ap: float
    dice: float
    threshold: float


def read_results(
    records: Records, infos: Mapping[Run, RunInfo], shared: Mapping[str, frozenset[str]]
) -> tuple[list[Result], list[str]]:
    """All results, sorted by dataset, sequence and run, and what could not be read.

    Parameters
    ----------
    shared : dataset → cases that another dataset holds too, where that is known
    """
    problems: list[str] = []
    healthy: dict[tuple[Run, str], list[ScoredImage]] = {}
    for one in records.held_out:
        healthy.setdefault((one.run, one.sequence), []).append(one)
    groups: dict[tuple[str, str, RunIdentity], list[ScoredImage]] = {}
    for one in records.scored:
        if one.run in infos:
            groups.setdefault((one.dataset, one.sequence, one.run.identity), []).append(one)
    results = []
    for (dataset, sequence, _), members in sorted(groups.items(), key=lambda item: item[0]):
        run = members[0].run
        others = healthy.get((run, sequence), [])
        info, apart = infos[run], shared.get(dataset)
        chose = info.selected_on.get(dataset.lower())
        place = [dataset, sequence, str(run)]
        key = key_of(members, others, [*place, info.model, _sorted(chose), _sorted(apart)])
        result = kept_result(run, dataset, sequence, key)
        if result is None:
            found: list[str] = []
            variants = _variants(members, found)
            if variants is not None:
                result = _result(variants, others, info, apart, found)
                if not found:  # else it would hide what is damaged
                    keep_result(run, result, key)
            problems += found
        if result is not None:
            results.append(result)
    return results, problems


def _sorted(cases: frozenset[str] | None) -> list[str] | None:
    return None if cases is None else sorted(cases)


def _variants(members: Sequence[ScoredImage], problems: list[str]) -> list[_Variant] | None:
    """Read the counts of every case, variant and region; a case that lacks one is left out."""
    names = members[0].variants
    packers = {(name, region): Packer() for name in names for region in (GRID, BRAIN)}
    whole = []
    for one in members:
        try:
            counts = {key: one.counts(*key) for key in packers}
        except InputError as error:
            problems.append(f"{one.run}, {one.dataset}, case {one.case_id}: {error}")
            continue
        whole.append(one)
        for key, found in counts.items():
            packers[key].add(found)
    if not whole:
        return None
    variants = []
    for name in names:
        grid = packers.pop((name, GRID)).packed()
        brain = packers.pop((name, BRAIN)).packed()
        ap = average_precision(grid.pooled())
        variants.append(_Variant(name, whole, grid, brain, ap, *best_mean_dice(grid)))
    return variants


def _result(
    variants: list[_Variant],
    held_out: Sequence[ScoredImage],
    info: RunInfo,
    shared: frozenset[str] | None,
    problems: list[str],
) -> Result:
    best = max(variants, key=lambda one: np.nan_to_num(one.ap, nan=-1.0))
    first = best.members[0]
    practical = {
        v.name: info.thresholds.get(threshold_key(first.sequence, v.name), float("nan"))
        for v in variants
    }
    lesions = [lesion for one in best.members for lesion in _lesions(one, best.name)]
    resampled = resampled_average_precision(best.grid, [one.patient_id for one in best.members])
    recall, precision = thinned(*precision_recall(best.grid.pooled()))
    return Result(
        dataset=first.dataset,
        sequence=first.sequence,
        run=first.run.identity,
        variant=best.name,
        number_of_cases=len(best.members),
        metrics=_metrics(best, resampled, lesions, practical[best.name], held_out, problems),
        cases=[one for v in variants for one in _case_results(v, practical[v.name])],
        variants={
            v.name: PartResult(cases=len(v.members), ap=100 * v.ap, dsc=100 * v.dice)
            for v in variants
        },
        subsets=_subsets(
            best, {SHARED: shared, SELECTION: info.selected_on.get(first.dataset.lower())}
        ),
        lesions=lesions,
        recall=recall,
        precision=precision,
        resampled=resampled,
    )


def _lesions(one: ScoredImage, variant: str) -> list[LesionScore]:
    return one.record.variants[variant].lesions


def _metrics(
    best: _Variant,
    resampled: FloatArray,
    lesions: Sequence[LesionScore],
    practical: float,
    held_out: Sequence[ScoredImage],
    problems: list[str],
) -> Metrics:
    patients = [one.patient_id for one in best.members]
    pooled, brain = best.grid.pooled(), best.brain.pooled()
    ap_low, ap_high = interval(resampled)
    dsc_low, dsc_high = best_mean_dice_interval(best.grid, patients)
    at_practical = [_dice(counts, practical) for counts in best.grid]
    inside = [lesion for lesion in lesions if lesion.brain_ml > 0]
    false = [one.record.variants[best.name].false_positives for one in best.members]
    known = not np.isnan(practical)
    healthy_cases, auroc_subjects = _subjects(best, held_out, problems)
    normal, lesion = (
        100 * _mean([value for value in values if value is not None])
        for values in (
            [one.record.error_normal for one in best.members],
            [one.record.error_lesion for one in best.members],
        )
    )
    return Metrics(
        ap=100 * best.ap,
        ap_low=100 * ap_low,
        ap_high=100 * ap_high,
        dsc=100 * best.dice,
        dsc_low=100 * dsc_low,
        dsc_high=100 * dsc_high,
        ap_brain=100 * average_precision(brain),
        dsc_brain=100 * best_mean_dice(best.brain)[0],
        dsc_pooled=100 * best_dice(pooled)[0],
        dsc_practical=100 * _mean([value for value in at_practical if not np.isnan(value)]),
        auroc=100 * auroc(pooled),
        lesions=len(lesions),
        lesions_found=100 * sensitivity(lesions, practical) if known else float("nan"),
        lesions_found_brain=100 * sensitivity(inside, practical) if known else float("nan"),
        fp_per_case=_mean([number for number in false if number is not None]),
        lesion_outside_brain=100 * _share_outside(best.members),
        healthy_cases=healthy_cases,
        auroc_subjects=auroc_subjects,
        error_normal=normal,
        error_lesion=lesion,
        error_ratio=lesion / normal if normal else float("nan"),
        threshold=best.threshold,
        practical_threshold=practical,
    )


def _share_outside(members: Sequence[ScoredImage]) -> float:
    """Share of all lesion voxels that lie outside the brain mask, where no map can find them."""
    total = sum(one.record.lesion_ml for one in members)
    outside = sum(one.record.lesion_ml * one.record.lesion_outside_brain for one in members)
    return float(outside / total) if total else float("nan")


def _subjects(
    best: _Variant, held_out: Sequence[ScoredImage], problems: list[str]
) -> tuple[int, float]:
    """Number of healthy cases (without a lesion here, or held out), and AUROC of the others
    against them, in percent."""
    lesioned: list[float] = []
    healthy: list[float] = []
    for one, counts in zip(best.members, best.brain, strict=True):
        (lesioned if one.has_lesion else healthy).append(score_quantile(counts, CASE_QUANTILE))
    for one in held_out:
        try:
            healthy.append(score_quantile(one.counts(best.name, BRAIN), CASE_QUANTILE))
        except InputError as error:
            problems.append(f"{one.run}, held-out case {one.case_id}: {error}")
    if not (lesioned and healthy):
        return len(healthy), float("nan")
    wins = stats.mannwhitneyu(lesioned, healthy, method="asymptotic").statistic
    return len(healthy), 100 * (float(wins) / (len(lesioned) * len(healthy)))


def _case_results(variant: _Variant, practical: float) -> list[CaseResult]:
    return [
        CaseResult(
            case=one.case_id,
            patient=one.patient_id,
            variant=variant.name,
            metrics=_case_metrics(one, variant, counts, practical),
        )
        for one, counts in zip(variant.members, variant.grid, strict=True)
    ]


def _case_metrics(
    one: ScoredImage, variant: _Variant, counts: ScoreCounts, practical: float
) -> CaseMetrics:
    score, nan = one.record.variants[variant.name], float("nan")
    known = not np.isnan(practical)
    found = sum(lesion.highest >= practical for lesion in score.lesions)
    return CaseMetrics(
        lesion_ml=one.record.lesion_ml,
        lesion_outside_brain=100 * one.record.lesion_outside_brain,
        ap=100 * average_precision(counts),
        dsc=100 * _dice(counts, variant.threshold),
        dsc_practical=100 * _dice(counts, practical),
        best_dsc=100 * best_dice(counts)[0],
        lesions=len(score.lesions),
        lesions_found=found if known else nan,
        false_positives=nan if score.false_positives is None else score.false_positives,
        false_positive_ml=false_positive_voxels(counts, practical) * STANDARD_VOXEL_ML
        if known
        else nan,
    )


def _dice(counts: ScoreCounts, threshold: float) -> float:
    """Dice of a lesioned case; NaN for a healthy one, or without a threshold."""
    known = counts.lesion.any() and not np.isnan(threshold)
    return dice_at(counts, threshold) if known else float("nan")


def _subsets(
    best: _Variant, left_out: Mapping[str, frozenset[str] | None]
) -> dict[str, PartResult]:
    """AP and DSC of all cases, then without those of each group that is known."""
    ids = [one.case_id for one in best.members]
    chosen: dict[str, npt.NDArray[np.bool_]] = {ALL_CASES: np.ones(len(ids), bool)}
    for name, cases in left_out.items():
        keep = np.array([case_id not in (cases or ()) for case_id in ids])
        if cases is not None and not keep.all():
            chosen[name] = keep
    if len(chosen) == 1:
        return {}
    parts = {name: (int(keep.sum()), best.grid.only(keep)) for name, keep in chosen.items()}
    return {
        name: PartResult(
            cases=number,
            ap=100 * average_precision(part.pooled()),
            dsc=100 * best_mean_dice(part)[0],
        )
        for name, (number, part) in parts.items()
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
