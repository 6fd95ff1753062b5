"""The report, built from the records on disk; it can be rebuilt alone, also after a failed run."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dal_auto import paths
from dal_auto.atomic import replacing
from dal_auto.datasets.registry import find_dataset
from dal_auto.errors import DalError, UsageError
from dal_auto.evaluation.report.page import Picture, Report, write_report
from dal_auto.evaluation.run import Scored
from dal_auto.evaluation.tables import cases_table, results_table, verdicts
from dal_auto.figures.curves import precision_recall_figure
from dal_auto.figures.png import save_png
from dal_auto.inference.runs import Run
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.preprocessing.run import case_records
from dal_auto.scoring.metrics import precision_recall
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.standard_files import CaseRecord

logger = logging.getLogger(__name__)

LIMITS = (
    "Mass effect and atrophy: a shifted or shrunken but otherwise normal structure yields normal "
    "edges, and is restored as it is (paper §5.4).",
    "Populations other than the training set's, children above all: what is normal there may be "
    "marked here.",
    "Sequences that the model was not trained on.",
    "Lesions outside the brain mask, such as parts of meningiomas: maps are cut to the brain.",
)


def annotated_datasets(names: Sequence[str] | None) -> dict[str, list[CaseRecord]]:
    """Preprocessed cases that have a lesion mask, by dataset; None takes every dataset there is.

    Raises
    ------
    UsageError
        if a named dataset is not preprocessed, or nothing can be evaluated.
    """
    if names is None:
        there = paths.preprocessed().glob("*/preprocessing.json")
        names = sorted(path.parent.name for path in there)
    found: dict[str, list[CaseRecord]] = {}
    for name in names:
        folder = _folder_name(name)
        annotated = [record for record in case_records(folder) if record.has_lesion_mask]
        if annotated:
            found[folder] = annotated
        else:
            logger.info("%s has no lesion masks and is not evaluated", folder)
    if not found:
        raise UsageError(
            f"no preprocessed dataset with lesion masks in {paths.preprocessed()}. "
            "Run `dal_plan_and_preprocess -d` on one first."
        )
    return found


def _folder_name(name: str) -> str:
    """The preprocessed folder that the user means, in any case of letters."""
    there = {path.name.lower(): path.name for path in paths.preprocessed().glob("*")}
    return there.get(name.lower(), name)


def write_summary(folder: Path, scored: Sequence[Scored], failures: Sequence[str]) -> Path:
    """Write ``results.csv``, ``cases.csv`` and ``index.html`` into `folder`; returns the page."""
    results, cases = results_table(scored), cases_table(scored)
    for name, table in (("results", results), ("cases", cases)):
        with replacing(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    runs = {str(one.run): one.run for one in scored}
    trivial = {run.method for run in runs.values() if find_method(run.method).trivial}
    main = next((run for run in runs.values() if run.method not in trivial), None)
    plans = None if main is None else main.load().plans
    simulated = sorted(name for name in _dataset_names(scored, runs) if _is_simulated(name))
    report = Report(
        title="dal_auto: lesions found without lesion labels",
        intro=_intro(simulated, runs),
        simulated=bool(simulated),
        verdicts=verdicts(results, trivial),
        results=results.drop(columns=["variant", "run"], errors="ignore"),
        cases=cases,
        pictures=[*_draw_curves(folder, scored, results), *_pictures(scored)],
        plans=[] if plans is None else [(k, str(v), s) for k, v, s in plans.flat()],
        versions=_versions(main),
        failures=list(failures),
        methods_paragraph="" if plans is None else methods_paragraph(plans),
        limits=list(LIMITS),
    )
    page = folder / "index.html"
    write_report(report, page)
    return page


def methods_paragraph(plans: Plans) -> str:
    """What was done, in words to paste into a paper; generated from the plans."""
    chain, grid, scoring = plans.preprocessing, plans.configuration, plans.scoring
    spacing = "×".join(f"{mm:.2f}" for mm in grid.spacing_mm)
    return (
        "Images were corrected for bias fields with N4 (Tustison et al. 2010), registered rigidly "
        f"to {chain.atlas} (Rohlfing et al. 2010) with {chain.registration}, skull-stripped with "
        f"{chain.skull_strip}, and cropped or padded to {'×'.join(map(str, chain.target_shape))} "
        "voxels of 1 mm. Intensities were matched piecewise linearly to the landmarks of "
        f"{plans.training_set} (Nyúl & Udupa 1999). {plans.method.name} (dal_auto, preset "
        f"“{plans.method.preset}”) was trained on {', '.join(plans.sequences)} of "
        f"{plans.training_set} at {spacing} mm for {plans.training.steps} steps (Adam, learning "
        f"rate {plans.training.learning_rate:g}). Anomaly maps are the {scoring.score} score, "
        f"brought to 1 mm, filtered with a minimum of {scoring.min_filter_mm:g} mm and a mean of "
        f"{scoring.mean_filter_mm:g} mm, and cut to the brain mask eroded by a kernel of "
        f"{scoring.erosion_mm:g} mm. Average precision is pooled over all voxels of a dataset; DSC "
        "is the mean over subjects at the one threshold that makes it best."
    )


def _intro(simulated: Sequence[str], runs: dict[str, Run]) -> list[str]:
    lines = []
    if simulated:
        lines.append(
            f"{' and '.join(simulated)} are simulated: heads drawn from tissue maps, with lesions "
            "put in. They show that the pipeline works from end to end; they say nothing of how "
            "well it detects lesions in patients."
        )
    lines.append(
        "Every method is scored on the same cases with the same post-processing. "
        f"Runs: {', '.join(runs) or 'none'}."
    )
    return lines


def _dataset_names(scored: Sequence[Scored], runs: dict[str, Run]) -> set[str]:
    return {one.dataset for one in scored} | {run.training_set for run in runs.values()}


def _is_simulated(dataset: str) -> bool:
    try:
        return find_dataset(dataset, paths.raw()).simulated
    except DalError:  # the raw data may have been moved away since
        return False


def _draw_curves(folder: Path, scored: Sequence[Scored], results: pd.DataFrame) -> list[Picture]:
    """Precision over recall, one picture per dataset and sequence, one line per row of results."""
    pictures = []
    for (dataset, sequence), rows in (
        results.groupby(["dataset", "sequence"]) if len(results) else ()
    ):
        curves = {}
        for row in rows.itertuples():
            members = [
                one
                for one in scored
                if (one.dataset, one.sequence, str(one.run)) == (dataset, sequence, row.run)
            ]
            counts = (one.counts(str(row.variant), "grid") for one in members)
            curves[f"{row.method}, seed {row.seed}"] = precision_recall(
                sum(counts, start=ScoreCounts.empty())
            )
        path = folder / f"precision-recall_{dataset}_{sequence}.png"
        save_png(precision_recall_figure(curves, f"{dataset} {sequence}"), path)
        pictures.append(
            Picture(path, f"Precision over recall: {dataset} {sequence}", str(dataset), "", "", "")
        )
    return pictures


def _pictures(scored: Sequence[Scored]) -> list[Picture]:
    return [
        Picture(
            path=one.picture,
            caption=f"{one.run.method}, seed {one.run.seed}: {one.case_id} {one.sequence}",
            dataset=one.dataset,
            case_id=one.case_id,
            sequence=one.sequence,
            method=one.run.method,
        )
        for one in scored
        if one.picture is not None
    ]


def _versions(run: Run | None) -> dict[str, str]:
    path = None if run is None else run.folder / "complete.json"
    if path is None or not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8"))["versions"])
