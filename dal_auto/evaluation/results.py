"""From records to cells: one dataset, one sequence, one run. Only here are score counts read, once.

All tables and figures are made of cells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from dal_auto.errors import InputError
from dal_auto.evaluation.result_store import Cell, Row, key_of, store, stored
from dal_auto.evaluation.run_info import RunFacts
from dal_auto.evaluation.scores import VOXEL_ML, Records, Scored
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
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)

#: A case's score: as high as the highest thousandth of its brain voxels.
CASE_QUANTILE = 0.999
ALL_CASES = "all cases"
SHARED, SELECTION = "without shared cases", "without selection cases"


@dataclass(frozen=True, eq=False)
class _Variant:
    """Counts of all cases of a cell in one variant of the method; `dice` is best at `threshold`."""

    name: str
    members: list[Scored]
    grid: CaseCounts
    brain: CaseCounts
    ap: float
    dice: float
    threshold: float


def read_cells(
    records: Records, facts: Mapping[Run, RunFacts], shared: Mapping[str, frozenset[str]]
) -> tuple[list[Cell], list[str]]:
    """All cells, sorted by dataset, sequence and run, and what could not be read.

    Parameters
    ----------
    shared : dataset → cases that another dataset holds too, where that is known
    """
    problems: list[str] = []
    healthy: dict[tuple[Run, str], list[Scored]] = {}
    for one in records.held_out:
        healthy.setdefault((one.run, one.sequence), []).append(one)
    groups: dict[tuple[str, str, str], list[Scored]] = {}
    for one in records.scored:
        if one.run in facts:
            groups.setdefault((one.dataset, one.sequence, str(one.run)), []).append(one)
    cells = []
    for _, members in sorted(groups.items(), key=lambda item: item[0]):
        first = members[0]
        others = healthy.get((first.run, first.sequence), [])
        of_run, apart = facts[first.run], shared.get(first.dataset)
        key = key_of(
            members, others, [of_run.model, _sorted(of_run.selection_cases), _sorted(apart)]
        )
        cell = stored(first.run, first.dataset, first.sequence, key)
        if cell is None:
            found: list[str] = []
            variants = _variants(members, found)
            if variants is not None:
                cell = _cell(variants, others, of_run, apart, found)
                if not found:  # else it would hide what is damaged
                    store(cell, key)
            problems += found
        if cell is not None:
            cells.append(cell)
    return cells, problems


def _sorted(cases: frozenset[str] | None) -> list[str] | None:
    return None if cases is None else sorted(cases)


def _variants(members: Sequence[Scored], problems: list[str]) -> list[_Variant] | None:
    """Read the counts of every case, variant and region; a case that lacks one is left out."""
    names = members[0].variants
    packers = {(name, region): Packer() for name in names for region in ("grid", "brain")}
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
        grid = packers.pop((name, "grid")).packed()
        brain = packers.pop((name, "brain")).packed()
        ap = average_precision(grid.pooled())
        variants.append(_Variant(name, whole, grid, brain, ap, *best_mean_dice(grid)))
    return variants


def _cell(
    variants: list[_Variant],
    held_out: Sequence[Scored],
    facts: RunFacts,
    shared: frozenset[str] | None,
    problems: list[str],
) -> Cell:
    best = max(variants, key=lambda one: np.nan_to_num(one.ap, nan=-1.0))
    first, cases = best.members[0], []
    keys = {
        "dataset": first.dataset,
        "sequence": first.sequence,
        "method": first.method(best.name),
        "seed": first.run.seed,
    }
    practical = {
        v.name: facts.thresholds.get(threshold_key(first.sequence, v.name), float("nan"))
        for v in variants
    }
    for variant in variants:
        cases += _case_rows(variant, practical[variant.name])
    lesions = [lesion for one in best.members for lesion in one.lesions(best.name)]
    resampled = resampled_average_precision(best.grid, [one.patient_id for one in best.members])
    results = (
        keys
        | {"variant": best.name, "cases": len(best.members)}
        | _voxelwise(best, resampled, practical[best.name])
        | _lesionwise(best, lesions, practical[best.name])
        | _subjects(best, held_out, problems)
        | _figures(best.members)
        | {
            "threshold": best.threshold,
            "practical threshold": practical[best.name],
            "run": str(first.run),
        }
    )
    left_out = {SHARED: shared, SELECTION: facts.selection_cases or None}
    return Cell(
        dataset=first.dataset,
        sequence=first.sequence,
        run=first.run,
        method=first.method(best.name),
        results=results,
        cases=cases,
        variants=[
            keys
            | {
                "method": first.method(v.name),
                "variant": v.name,
                "cases": len(v.members),
                "AP": 100 * v.ap,
                "DSC": 100 * v.dice,
                "run": str(first.run),
            }
            for v in variants
        ],
        subsets=_subsets(best, keys | {"run": str(first.run)}, left_out),
        lesions=lesions,
        practical=practical[best.name],
        curve=thinned(*precision_recall(best.grid.pooled())),
        resampled=resampled,
    )


def _voxelwise(best: _Variant, resampled: FloatArray, practical: float) -> Row:
    patients = [one.patient_id for one in best.members]
    pooled, brain = best.grid.pooled(), best.brain.pooled()
    ap_low, ap_high = interval(resampled)
    dsc_low, dsc_high = best_mean_dice_interval(best.grid, patients)
    at_practical = [
        dice_at(counts, practical)
        for counts in best.grid
        if counts.lesion.any() and not np.isnan(practical)
    ]
    return {
        "AP": 100 * best.ap,
        "AP low": 100 * ap_low,
        "AP high": 100 * ap_high,
        "DSC": 100 * best.dice,
        "DSC low": 100 * dsc_low,
        "DSC high": 100 * dsc_high,
        "AP brain": 100 * average_precision(brain),
        "DSC brain": 100 * best_mean_dice(best.brain)[0],
        "DSC pooled": 100 * best_dice(pooled)[0],
        "DSC practical": 100 * _mean(at_practical),
        "AUROC": 100 * auroc(pooled),
    }


def _lesionwise(best: _Variant, lesions: Sequence[LesionScore], practical: float) -> Row:
    inside = [lesion for lesion in lesions if lesion.brain_ml > 0]
    false = [one.false_positives(best.name) for one in best.members]
    known = not np.isnan(practical)
    return {
        "lesions": len(lesions),
        "lesions found": 100 * sensitivity(lesions, practical) if known else float("nan"),
        "lesions found brain": 100 * sensitivity(inside, practical) if known else float("nan"),
        "FP per case": _mean([number for number in false if number is not None]),
        "lesion outside brain %": 100 * _share_outside(best.members),
    }


def _share_outside(members: Sequence[Scored]) -> float:
    """Share of all lesion voxels that lie outside the brain mask, where no map can find them."""
    total = sum(one.content["lesion_ml"] for one in members)
    outside = sum(one.content["lesion_ml"] * one.content["lesion_outside_brain"] for one in members)
    return float(outside / total) if total else float("nan")


def _subjects(best: _Variant, held_out: Sequence[Scored], problems: list[str]) -> Row:
    """Lesioned cases against healthy ones: those without lesion here, and those held out."""
    lesioned: list[float] = []
    healthy: list[float] = []
    for one, counts in zip(best.members, best.brain, strict=True):
        (lesioned if one.has_lesion else healthy).append(score_quantile(counts, CASE_QUANTILE))
    for one in held_out:
        try:
            healthy.append(score_quantile(one.counts(best.name, "brain"), CASE_QUANTILE))
        except InputError as error:
            problems.append(f"{one.run}, held-out case {one.case_id}: {error}")
    value = float("nan")
    if lesioned and healthy:
        wins = stats.mannwhitneyu(lesioned, healthy, method="asymptotic").statistic
        value = float(wins) / (len(lesioned) * len(healthy))
    return {"healthy cases": len(healthy), "AUROC subjects": 100 * value}


def _figures(members: Sequence[Scored]) -> Row:
    normal, lesion = (
        100 * _mean([v for one in members if (v := one.content[name]) is not None])
        for name in ("error_normal", "error_lesion")
    )
    return {"RE_N": normal, "RE_A": lesion, "RE ratio": lesion / normal if normal else float("nan")}


def _case_rows(variant: _Variant, practical: float) -> list[Row]:
    rows = []
    for one, counts in zip(variant.members, variant.grid, strict=True):
        lesions, known = one.lesions(variant.name), not np.isnan(practical)
        false = one.false_positives(variant.name)
        rows.append(
            {
                "dataset": one.dataset,
                "case": one.case_id,
                "patient": one.patient_id,
                "sequence": one.sequence,
                "method": one.method(variant.name),
                "seed": one.run.seed,
                "lesion ml": one.content["lesion_ml"],
                "lesion outside brain %": 100 * one.content["lesion_outside_brain"],
                "AP": 100 * average_precision(counts),
                "DSC": 100 * _dice(counts, variant.threshold),
                "DSC practical": 100 * _dice(counts, practical),
                "best DSC": 100 * best_dice(counts)[0],
                "lesions": len(lesions),
                "lesions found": sum(lesion.highest >= practical for lesion in lesions)
                if known
                else float("nan"),
                "FP": float("nan") if false is None else false,
                "FP ml": false_positive_voxels(counts, practical) * VOXEL_ML
                if known
                else float("nan"),
                "run": str(one.run),
            }
        )
    return rows


def _dice(counts: Any, threshold: float) -> float:
    """Dice of a lesioned case; NaN for a healthy one, or without a threshold."""
    known = counts.lesion.any() and not np.isnan(threshold)
    return dice_at(counts, threshold) if known else float("nan")


def _subsets(best: _Variant, keys: Row, left_out: Mapping[str, frozenset[str] | None]) -> list[Row]:
    """AP and DSC of all cases, then without those of each group that is known."""
    ids = [one.case_id for one in best.members]
    chosen: dict[str, npt.NDArray[np.bool_]] = {ALL_CASES: np.ones(len(ids), bool)}
    for name, cases in left_out.items():
        keep = np.array([case_id not in (cases or ()) for case_id in ids])
        if cases is not None and not keep.all():
            chosen[name] = keep
    rows = []
    for name, keep in chosen.items() if len(chosen) > 1 else ():
        part = best.grid.only(keep)
        rows.append(
            keys
            | {
                "cases are": name,
                "cases": int(keep.sum()),
                "AP": 100 * average_precision(part.pooled()),
                "DSC": 100 * best_mean_dice(part)[0],
            }
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
