"""A case's page: its volumes in a viewer, with a slider for the anomaly map's threshold.

The viewer is ours (pages/viewer.js). NiiVue, as nilearn's wheel ships it, was tried in its place:
it does all this and more, offline, but it needs WebGL 2. Without a graphics card a threshold took
seconds to follow the slider, and where the browser offers no WebGL 2 (a remote desktop, a virtual
machine) nothing is drawn at all; a canvas is drawn everywhere. nilearn's `view_img` bakes the
threshold in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from dal_auto.errors import InputError
from dal_auto.evaluation.pictures.volumes import Volumes, read_volumes
from dal_auto.evaluation.report.cases import HIDDEN, Case, Ranking
from dal_auto.evaluation.report.content import Report
from dal_auto.evaluation.report.files import CASES, safe
from dal_auto.evaluation.report.site import Site
from dal_auto.evaluation.report.table import number
from dal_auto.evaluation.report.texts import COLUMNS
from dal_auto.pages.page import VIEWER
from dal_auto.pages.pictures import url

_THRESHOLDS = {"practical threshold": "practical", "threshold": "best for the dataset"}
_NAMES = ("dataset", "case", "sequence", "method")


def write_case_pages(site: Site, dataset_page: Path, ranked: Sequence[Ranking]) -> dict[Case, Path]:
    """Write a page for each ranked case whose volumes can be read; returns where each lies."""
    found: dict[Case, Path] = {}
    for ranking in ranked:
        volumes: dict[Case, Volumes] = {}
        for case in ranking.cases:
            if case.volumes is None:
                continue
            try:
                volumes[case] = read_volumes(case.volumes.path)
            except InputError:  # the case keeps its picture
                continue
        folder = site.index.parent / CASES
        pages = {case: folder / safe(case.dataset) / f"{case.stem}.html" for case in volumes}
        neighbours: dict[Case, dict[str, Case]] = {case: {} for case in pages}
        for worse, better in pairwise(pages):
            neighbours[worse]["next better"], neighbours[better]["next worse"] = better, worse
        for case, page in pages.items():
            links = {
                way: (other.case_id, url(pages[other], page))
                for way, other in neighbours[case].items()
            }
            _write(site, case, page, url(dataset_page, page), links, volumes[case])
        found |= pages
    return found


def _write(
    site: Site,
    case: Case,
    page: Path,
    dataset_url: str,
    neighbours: dict[str, tuple[str, str]],
    volumes: Volumes,
) -> None:
    figures = [
        (name, number(value), COLUMNS.get(name, ""))
        for name, value in case.values.items()
        if name not in (*_NAMES, *HIDDEN)
    ]
    site.write(
        page,
        "case.html",
        scripts=VIEWER,
        case=case,
        dataset_url=dataset_url,
        neighbours=dict(sorted(neighbours.items(), reverse=True)),
        figures=figures,
        drawn=None if case.picture is None else site.drawn(case.picture, page, case),
        about=volumes.about(_thresholds(site.report, case)),
        layers=volumes.texts(),
    )


def _thresholds(report: Report, case: Case) -> list[tuple[str, float]]:
    """Name and score of the thresholds that the viewer offers."""
    found: list[tuple[str, float]] = []
    frame = report.results
    if len(frame):
        mine = frame[
            (frame["dataset"] == case.dataset)
            & (frame["sequence"] == case.sequence)
            & (frame["method"] == case.method)
            & (frame["run"] == case.run)
        ]
        for column, name in _THRESHOLDS.items():
            for value in mine[column] if column in mine.columns else ():
                if math.isfinite(value):
                    found.append((name, float(value)))
    return found
