"""What a dataset's standard cases look like: a table and a page, worst cases first.

Figures say where to look; the picture decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.quality.limits import (
    Finding,
    cohort_limits,
    deviations,
    findings,
    in_order,
)
from dal_auto.preprocessing.quality.page import CaseQuality, write_page
from dal_auto.preprocessing.quality.pictures import draw_missing, shown_case
from dal_auto.store.atomic import replacing
from dal_auto.store.standard_cases import CaseRecord


def write_quality(
    folder: Path,
    dataset: str,
    records: Sequence[CaseRecord],
    failures: Sequence[str],
    *,
    atlas: Atlas | None = None,
) -> None:
    """Write ``quality.csv`` and ``quality.html`` into a dataset's folder, worst cases first.

    Pictures that are missing, or of another run, are drawn; a case whose voxels cannot be read is
    shown without.
    """
    figures = pd.DataFrame(
        [record.quality for record in records],
        index=[record.case_id for record in records],
        dtype=float,
    )
    figures = figures[in_order(figures.columns)]
    limits = cohort_limits(figures)
    by_case = {r.case_id: findings(r.quality, limits) for r in records}
    order = _worst_first(figures, by_case)
    table = figures.loc[order]
    with replacing(folder / "quality.csv") as temporary:
        flagged = ["; ".join(finding.text for finding in by_case[case]) for case in order]
        table.assign(flags=flagged)[["flags", *table.columns]].to_csv(temporary, index_label="case")
    draw_missing(folder, dataset, records, atlas)
    path = folder / "quality.html"
    pictures = {record.case_id: shown_case(path, record) for record in records}
    rows = [CaseQuality(case, pictures[case], by_case[case]) for case in order]
    write_page(path, dataset, table, limits, rows, failures)


def _worst_first(figures: pd.DataFrame, by_case: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Case ids: by fixed limits broken, by all limits broken, by the largest deviation."""
    worst = deviations(figures).max(axis=1).fillna(0)

    def badness(case: str) -> tuple[int, int, float, str]:
        fixed = sum(finding.kind == "limit" for finding in by_case[case])
        return -fixed, -len(by_case[case]), -float(worst[case]), case

    return sorted(by_case, key=badness)
