"""From results to tables of plain numbers; `averages` goes on from here.

The column "run" holds the run's identity, which is text only in a file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from dal_auto.evaluation.averages import by_group
from dal_auto.evaluation.result import Result
from dal_auto.evaluation.results import ALL_CASES
from dal_auto.evaluation.scores import ScoredImage
from dal_auto.scoring.bootstrap import FEWEST_PATIENTS, interval
from dal_auto.scoring.lesionwise import sensitivity_by_volume

_ORDER = ["dataset", "sequence"]


def results_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per dataset, sequence and run.

    Where a method has variants, the row is that of the best by AP, and names it. In percent, but
    for counts and thresholds:

    - AP, pooled over all voxels of the standard grid (§4.2.2), and DSC, the mean over subjects at
      the one threshold that makes it best, each with its 95 % interval by patient;
    - AP brain, DSC brain: over brain voxels only, so without lesion voxels outside the brain mask,
      whose share stands in "lesion outside brain %";
    - DSC pooled: of all voxels at their own best threshold; DSC practical: the mean over subjects
      at the run's practical threshold; AUROC: of all voxels;
    - lesions found: share at the practical threshold, of all "lesions"; lesions found brain: of
      those with a voxel in the brain; FP per case: detections that touch no lesion;
    - AUROC subjects: of a case's score (`results.CASE_QUANTILE`), lesioned cases against "healthy
      cases": those of the dataset without a lesion voxel, and those held out of the training set;
    - RE_N, RE_A: mean |x − x_r| in healthy and lesion voxels, times 100, means over cases.
    """
    table = pd.DataFrame(
        [
            {
                "dataset": one.dataset,
                "sequence": one.sequence,
                "method": one.method,
                "seed": one.run.seed,
                "variant": one.variant,
                "cases": one.number_of_cases,
                **one.metrics.columns(),
                "run": one.run,
            }
            for one in results
        ]
    )
    if len(table):
        table = table.sort_values([*_ORDER, "AP"], ascending=[True, True, False])
    return table.reset_index(drop=True)


def cases_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per case, sequence, run and variant.

    AP and "best DSC" are of the case alone; DSC is taken at the dataset's best threshold, DSC
    practical at the run's practical one, as are "FP", the detections that touch no lesion, and
    "FP ml", the normal voxels that are called.
    """
    return pd.DataFrame(
        [
            {
                "dataset": one.dataset,
                "case": case.case,
                "patient": case.patient,
                "sequence": one.sequence,
                "method": one.method_in(case.variant),
                "seed": one.run.seed,
                **case.metrics.columns(),
                "run": one.run,
            }
            for one in results
            for case in one.cases
        ]
    )


def variants_table(results: Sequence[Result]) -> pd.DataFrame:
    """AP and DSC of every variant of a method; `results_table` has the best one alone.

    Variants are what a method can score by (raw intensity's polarities), and its map as its own
    paper leaves it ("own") beside the one with DAL's filters.
    """
    return pd.DataFrame(
        [
            {
                "dataset": one.dataset,
                "sequence": one.sequence,
                "method": one.method_in(variant),
                "seed": one.run.seed,
                "variant": variant,
                **part.columns(),
                "run": one.run,
            }
            for one in results
            for variant, part in one.variants.items()
        ]
    )


def subsets_table(results: Sequence[Result]) -> pd.DataFrame:
    """AP and DSC of all cases beside those without shared or selection cases, where they differ."""
    return pd.DataFrame(
        [
            {
                "dataset": one.dataset,
                "sequence": one.sequence,
                "method": one.method,
                "seed": one.run.seed,
                "run": one.run,
                "cases are": name,
                **part.columns(),
            }
            for one in results
            for name, part in one.subsets.items()
        ]
    )


def lesion_sizes_table(results: Sequence[Result]) -> pd.DataFrame:
    """Share of the lesions of each class of volume that is found at the practical threshold."""
    rows = []
    for one in results:
        threshold = one.metrics.practical_threshold
        if np.isnan(threshold):
            continue
        for low, high, number, share in sensitivity_by_volume(one.lesions, threshold):
            rows.append(
                {
                    "dataset": one.dataset,
                    "sequence": one.sequence,
                    "method": one.method,
                    "seed": one.run.seed,
                    "from ml": low,
                    "below ml": high,
                    "lesions": number,
                    "found": 100 * share,
                    "run": one.run,
                }
            )
    return pd.DataFrame(rows)


def similarities_table(held_out: Sequence[ScoredImage]) -> pd.DataFrame:
    """Mean SSIM of healthy images and their restorations, per run and sequence (§4.8.3)."""
    rows = [
        {
            "run": one.run.identity,
            "sequence": one.sequence,
            "case": one.case_id,
            "SSIM grid": found.grid,
            "SSIM brain": found.brain,
        }
        for one in held_out
        if (found := one.record.similarity) is not None
    ]
    if not rows:
        return pd.DataFrame()
    named = {"healthy cases": ("case", "size")}
    means = {column: (column, "mean") for column in ("SSIM grid", "SSIM brain")}
    return pd.DataFrame(rows).groupby(["run", "sequence"], as_index=False).agg(**named, **means)


def subset_sentences(subsets: pd.DataFrame) -> list[str]:
    """What leaving cases out changes, per dataset, sequence and run; means over seeds.

    Parameters
    ----------
    subsets : of `subsets_table`
    """
    if subsets.empty:
        return []
    sentences = []
    for (dataset, sequence), everything in subsets.groupby(_ORDER):
        for _, rows in by_group(everything):
            means = rows.groupby("cases are", sort=False)[["cases", "AP", "DSC"]].mean()
            found = [
                f"AP {_said(row['AP'])}, DSC {_said(row['DSC'])} "
                f"{'on ' if name == ALL_CASES else ''}"
                f"{name} ({row['cases']:,.0f})"
                for name, row in means.iterrows()
            ]
            method = rows["method"].iloc[0]
            sentences.append(f"{method} on {dataset} {sequence}: {'; '.join(found)}.")
    return sentences


def _said(percent: float) -> str:
    return "–" if np.isnan(percent) else f"{percent:.1f}"


def verdicts(results: Sequence[Result], trivial: Collection[str]) -> list[str]:
    """For every dataset and sequence: is each method above the best trivial baseline in AP?

    Where the 95 % interval of the difference holds 0, or there are fewer than `FEWEST_PATIENTS`,
    the comparison is not resolved, and the sentence says so. Where nothing can be compared, the one
    sentence says why.

    Parameters
    ----------
    trivial : names of the methods that know nothing of anatomy
    """
    if not results:
        return ["Nothing has been scored yet."]
    sentences = []
    places = dict.fromkeys((one.dataset, one.sequence) for one in results)
    for dataset, sequence in places:
        there = [one for one in results if (one.dataset, one.sequence) == (dataset, sequence)]
        there.sort(key=lambda one: -np.nan_to_num(one.metrics.ap, nan=-1.0))
        best = next((one for one in there if one.run.group.method in trivial), None)
        if best is None or np.isnan(best.metrics.ap):
            continue
        for one in there:
            if one.run.group.method in trivial or np.isnan(one.metrics.ap):
                continue
            sentences.append(_verdict(one, best))
    return sentences or [_no_verdict({one.run.group.method for one in results}, trivial)]


def _no_verdict(methods: Collection[str], trivial: Collection[str]) -> str:
    baselines = set(methods) & set(trivial)
    if len(baselines) == len(methods):
        return "No method other than the trivial baselines has been scored."
    if not baselines:
        return "No trivial baseline has been scored: there is nothing to compare with."
    return "On no dataset have a trivial baseline and another method an AP to compare."


def _verdict(result: Result, best: Result) -> str:
    """One comparison in AP: which is higher, in how many patients, and whether that is resolved."""
    ap, its = result.metrics.ap, best.metrics.ap
    relation = "higher than" if ap > its else "lower than" if ap < its else "equal to"
    name = f"{result.method} (seed {result.run.seed})"
    patients = len({one.patient for one in result.cases if one.variant == result.variant})
    place = f"on {result.dataset} {result.sequence}, in {patients} patient{'s'[: patients != 1]}"
    return (
        f"{name} is {relation} {best.method}, the best trivial baseline, {place}"
        f"{_resolution(result, best, patients)}. AP {ap:.1f} against {its:.1f}"
        f"{_difference(result, best)}."
    )


def _resolution(result: Result, best: Result, patients: int) -> str:
    low, high = _interval(result, best)
    if patients < FEWEST_PATIENTS and not np.isnan(low):
        return f", but not resolved: that takes {FEWEST_PATIENTS} patients or more"
    return ", but not resolved: other patients may say the opposite" if low <= 0 <= high else ""


def _difference(result: Result, best: Result) -> str:
    if result.case_ids != best.case_ids:
        return " (other cases: see what failed)"
    low, high = _interval(result, best)
    if np.isnan(low):
        return " (no interval: fewer than two patients)"
    return f" (difference, 95 % by patient: {low:+.1f} to {high:+.1f})"


def _interval(result: Result, best: Result) -> tuple[float, float]:
    """95 % of the difference of AP, the same patients drawn for both; NaN where there is none."""
    if result.case_ids != best.case_ids:
        return float("nan"), float("nan")
    return interval(100 * (result.resampled - best.resampled))
