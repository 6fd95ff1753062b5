"""The result of a run on one dataset and sequence, and how it is kept beside its records.

All tables and figures are made of results. A full table of 18 methods holds near a million files of
score counts, and resampling them takes hours: a result is kept under a hash of all that it follows
from, so that a report is rebuilt without the counts, and made again if that hash changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from dal_auto.errors import DiskFull
from dal_auto.evaluation.scores import ScoredImage
from dal_auto.schema import Array
from dal_auto.scoring import bootstrap
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.store.kept import Kept, made_from
from dal_auto.store.run_identity import RunIdentity
from dal_auto.store.runs import Run


def _named(column: str) -> Any:
    """A field that has this name in tables."""
    return Field(serialization_alias=column)


class Figures(Kept):
    """Numbers of a result, one a column of a table: in percent, but for counts and thresholds."""

    def columns(self) -> dict[str, Any]:
        """Column → value, in the order of the fields."""
        fields = type(self).model_fields
        return {f.serialization_alias or name: getattr(self, name) for name, f in fields.items()}


class Metrics(Figures):
    """Of all cases of a dataset; `tables.results_table` says what each is."""

    ap: float = _named("AP")
    ap_low: float = _named("AP low")
    ap_high: float = _named("AP high")
    dsc: float = _named("DSC")
    dsc_low: float = _named("DSC low")
    dsc_high: float = _named("DSC high")
    ap_brain: float = _named("AP brain")
    dsc_brain: float = _named("DSC brain")
    dsc_pooled: float = _named("DSC pooled")
    dsc_practical: float = _named("DSC practical")
    auroc: float = _named("AUROC")
    lesions: int
    lesions_found: float = _named("lesions found")
    lesions_found_brain: float = _named("lesions found brain")
    fp_per_case: float = _named("FP per case")
    lesion_outside_brain: float = _named("lesion outside brain %")
    healthy_cases: int = _named("healthy cases")
    auroc_subjects: float = _named("AUROC subjects")
    error_normal: float = _named("RE_N")
    error_lesion: float = _named("RE_A")
    error_ratio: float = _named("RE ratio")
    threshold: float
    practical_threshold: float = _named("practical threshold")


class CaseMetrics(Figures):
    """Of one case; `tables.cases_table` says what each is."""

    lesion_ml: float = _named("lesion ml")
    lesion_outside_brain: float = _named("lesion outside brain %")
    ap: float = _named("AP")
    dsc: float = _named("DSC")
    dsc_practical: float = _named("DSC practical")
    best_dsc: float = _named("best DSC")
    lesions: int
    lesions_found: float = _named("lesions found")
    false_positives: float = _named("FP")
    false_positive_ml: float = _named("FP ml")


class CaseResult(Kept):
    """One case in one variant of the method."""

    case: str
    patient: str
    variant: str
    metrics: CaseMetrics


class PartResult(Figures):
    """AP and DSC of some of the cases, or of all of them."""

    cases: int
    ap: float = _named("AP")
    dsc: float = _named("DSC")


class Result(Kept):
    """One dataset, one sequence, one run, in the variant of the method that scores best.

    Parameters
    ----------
    variant : the best by AP; empty where the method has only one
    cases : of every variant
    variants : name → all cases in this variant
    subsets : which cases → their result, where some are left out for comparison
    lesions : of all cases, in the best variant
    recall, precision : of the best variant; thinned for drawing
    resampled : AP of each resample of its patients (`bootstrap.resampled_average_precision`)
    """

    dataset: str
    sequence: str
    run: RunIdentity
    variant: str
    number_of_cases: int
    metrics: Metrics
    cases: list[CaseResult]
    variants: dict[str, PartResult]
    subsets: dict[str, PartResult]
    lesions: list[LesionScore]
    recall: Array
    precision: Array
    resampled: Array

    @property
    def method(self) -> str:
        """The method as people read it, in the best variant."""
        return self.method_in(self.variant)

    def method_in(self, variant: str) -> str:
        """The method as people read it, in any variant."""
        method = self.run.group.method
        return f"{method} ({variant})" if variant else method

    @property
    def case_ids(self) -> list[str]:
        """The cases it is of, in their order."""
        return [one.case for one in self.cases if one.variant == self.variant]


class _KeptResult(Kept):
    key: str
    result: Result


def key_of(members: Sequence[ScoredImage], held_out: Sequence[ScoredImage], further: object) -> str:
    """Hash of what a result follows from.

    Parameters
    ----------
    further : what it depends on beside its records, as JSON
    """
    records = [one.record.model_dump(mode="json") for one in (*members, *held_out)]
    return made_from({"resamples": bootstrap.RESAMPLES, "records": records, "further": further})


def keep_result(run: Run, result: Result, key: str) -> None:
    """Keep a result; where nothing can be written, it is only not kept."""
    with suppress(OSError, DiskFull):
        _KeptResult(key=key, result=result).write(_path(run, result.dataset, result.sequence))


def kept_result(run: Run, dataset: str, sequence: str, key: str) -> Result | None:
    """The result that was kept under this key, if there is one."""
    try:
        found = _KeptResult.read(_path(run, dataset, sequence))
    except (OSError, ValueError):
        return None
    return found.result if found.key == key else None


def _path(run: Run, dataset: str, sequence: str) -> Path:
    return run.folder / "evaluation" / dataset / "results" / f"{sequence}.json"
