"""The report's figures, from results and records: each as PNG and as SVG."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dal_auto.evaluation.paper.reference import DATASETS
from dal_auto.evaluation.paper.rows import labels, main_runs, plans_by_group
from dal_auto.evaluation.pictures.slices import ByteArray, Slices, read_slices, read_vectors
from dal_auto.evaluation.report.page import Picture
from dal_auto.evaluation.result import Result
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.evaluation.scores import HELD_OUT, Records, ScoredImage
from dal_auto.figures.boxes import box_figure
from dal_auto.figures.comparison import Slice, comparison_figure, strip_figure
from dal_auto.figures.curves import precision_recall_figure, sensitivity_figure, sweep_figure
from dal_auto.figures.embedding import embed, embedding_figure
from dal_auto.figures.files import save_figure
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)

_STRIP = 3  # cases at the top of the summary


@dataclass(frozen=True)
class FigureData:
    """What figures are drawn from.

    Parameters
    ----------
    results : of all runs
    cases, sizes, sweeps : of `tables.cases_table`, `tables.lesion_sizes_table`, and the numbers of
        `ablation_tables.sweeps_table`
    """

    folder: Path
    records: Records
    infos: Mapping[Run, RunInfo]
    results: Sequence[Result]
    cases: pd.DataFrame
    sizes: pd.DataFrame
    sweeps: pd.DataFrame

    def shown_results(self) -> list[tuple[str, Result]]:
        """Results of runs that are no part of an ablation, with what the run is called."""
        called = main_runs(self.infos)
        return [(called[one.run.group], one) for one in self.results if one.run.group in called]

    def save(self, figure: Figure, stem: str, caption: str, dataset: str = "") -> Picture:
        """A chart, written."""
        return replace(self.save_brains(figure, stem, caption, dataset), chart=True)

    def save_brains(self, figure: Figure, stem: str, caption: str, dataset: str = "") -> Picture:
        """A figure of images, written."""
        return Picture(save_figure(figure, self.folder / _slug(stem)), caption, dataset)


def draw_all(data: FigureData, problems: list[str]) -> list[Picture]:
    """Every figure that there is data for; one that fails is named in `problems`."""
    pictures: list[Picture] = []
    kinds: dict[str, Callable[[FigureData], list[Picture]]] = {
        "strip of brains": _strip,
        "precision over recall": _precision_recall,
        "sensitivity by lesion size": _sensitivity,
        "box plots": _boxes,
        "anomaly maps of all methods": _anomaly_maps,
        "pseudo-healthy images of all methods": _pseudo_healthy,
        "intermediate outputs": _intermediate,
        "vectors": _vectors,
        "hyper-parameters": _sweeps,
    }
    for name, draw in kinds.items():
        try:
            pictures += draw(data)
        except Exception as error:  # a figure that fails must not take the report with it
            logger.debug("figure %s", name, exc_info=True)
            problems.append(f"figure “{name}”: {type(error).__name__}: {error}")
    return pictures


def _strip(data: FigureData) -> list[Picture]:
    """Input, pseudo-healthy image and map of a few cases, one sequence of each."""
    trivial = {run.identity.group.method for run, one in data.infos.items() if one.trivial}
    rows: dict[str, dict[str, Slice]] = {}
    outlines: dict[str, np.ndarray] = {}
    seen, shown = set[tuple[str, str]](), ""
    for label, variant, one, slices in _with_slices(data):
        case, other = (one.dataset, one.case_id), label != (shown or label)
        if slices.pseudo_healthy is None or one.run.method in trivial or other or case in seen:
            continue
        seen.add(case)
        shown, name = label, f"{one.dataset} {one.case_id} {one.sequence}"
        rows[name] = {
            "input": Slice(slices.image, "image"),
            "pseudo-healthy": Slice(slices.pseudo_healthy, "image"),
            "anomaly map": Slice(slices.anomaly[variant], "score"),
        }
        outlines[name] = slices.lesion
        if len(rows) == _STRIP:
            break
    if not rows:
        return []
    caption = f"{shown}: input, pseudo-healthy image, anomaly map; the lesion mask is outlined"
    return [replace(data.save_brains(strip_figure(rows, outlines), "strip", caption), lead=True)]


def _precision_recall(data: FigureData) -> list[Picture]:
    groups: dict[tuple[str, str], dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {}
    for label, one in data.shown_results():
        curves = groups.setdefault((one.dataset, one.sequence), {})
        curves.setdefault(label, []).append((one.recall, one.precision))
    return [
        data.save(
            precision_recall_figure(curves, f"{dataset} {sequence}"),
            f"precision-recall_{dataset}_{sequence}",
            f"Precision over recall: {dataset} {sequence}",
            dataset,
        )
        for (dataset, sequence), curves in groups.items()
    ]


def _sensitivity(data: FigureData) -> list[Picture]:
    if data.sizes.empty:
        return []
    called = {one.run: label for label, one in data.shown_results()}
    sizes = data.sizes.assign(method=data.sizes["run"].map(called))
    pictures = []
    for dataset, table in sizes.dropna(subset="method").groupby("dataset"):
        title = f"{dataset}: lesions found, by size"
        panels = {str(sequence): part for sequence, part in table.groupby("sequence")}
        figure = sensitivity_figure(panels, title)
        pictures.append(data.save(figure, f"sensitivity_{dataset}", title, str(dataset)))
    return pictures


def _boxes(data: FigureData) -> list[Picture]:
    if data.cases.empty:
        return []
    chosen = {(one.dataset, one.sequence, one.run, one.method) for one in data.results}
    called = {one.run: label for label, one in data.shown_results()}
    keys = data.cases[["dataset", "sequence", "run", "method"]].itertuples(index=False)
    cases = data.cases[[tuple(key) in chosen for key in keys]]
    cases = cases.assign(method=cases["run"].map(called)).dropna(subset="method")
    pictures = []
    for sequence, table in cases.groupby("sequence"):
        there = sorted(set(table["dataset"]), key=_paper_order)
        groups = {name: "\n".join(filter(None, (name, _pathology(name)))) for name in there}
        title = f"DSC of the cases at each dataset's best threshold, {sequence}"
        figure = box_figure(table, "DSC", groups, title)
        pictures.append(data.save(figure, f"boxes_{sequence}", title))
    return pictures


def _pathology(dataset: str) -> str:
    return DATASETS[dataset][0].replace(" (", "\n(") if dataset in DATASETS else ""


def _paper_order(dataset: str) -> tuple[int, str]:
    known = list(DATASETS)
    return (known.index(dataset) if dataset in known else len(known), dataset)


def _anomaly_maps(data: FigureData) -> list[Picture]:
    caption = "Anomaly maps, each scaled to its largest score"
    return _side_by_side(data, "anomaly-maps", caption, "score", lambda s, v: s.anomaly.get(v))


def _pseudo_healthy(data: FigureData) -> list[Picture]:
    caption = "Pseudo-healthy images"
    return _side_by_side(data, "pseudo-healthy", caption, "image", lambda s, _: s.pseudo_healthy)


def _side_by_side(
    data: FigureData,
    stem: str,
    caption: str,
    kind: Literal["image", "score"],
    wanted: Callable[[Slices, str], ByteArray | None],
) -> list[Picture]:
    """The same cases by all methods, of the first seed of each (the paper's Fig. 2 and 3)."""
    groups: dict[str, dict[str, dict[str, Slice]]] = {}
    outlines: dict[str, dict[str, np.ndarray]] = {}
    columns: dict[str, list[str]] = {}
    for label, variant, one, slices in _with_slices(data):
        drawn = wanted(slices, variant)
        if drawn is None:
            continue
        name = f"{one.case_id} {one.sequence}"
        row = groups.setdefault(one.dataset, {}).setdefault(name, {})
        row.setdefault("input", Slice(slices.image, "image"))
        row[label] = Slice(drawn, kind)
        outlines.setdefault(one.dataset, {})[name] = slices.lesion
        order = columns.setdefault(one.dataset, ["input"])
        if label not in order:
            order.append(label)
    return [
        data.save_brains(
            comparison_figure(
                dict(sorted(rows.items())),
                columns[dataset],
                outlines[dataset],
                f"{dataset}: {caption[0].lower()}{caption[1:]}",
            ),
            f"{stem}_{dataset}",
            f"{caption}: {dataset}",
            dataset,
        )
        for dataset, rows in groups.items()
    ]


def _with_slices(data: FigureData) -> list[tuple[str, str, ScoredImage, Slices]]:
    """(run's label, best variant, record, slices) of all that has slices, of each first seed."""
    first: dict[RunGroup, int] = {}
    for _, result in data.shown_results():
        group, seed = result.run.group, result.run.seed
        first[group] = min(seed, first.get(group, seed))
    chosen = {
        (result.dataset, result.sequence, result.run): (label, result.variant)
        for label, result in data.shown_results()
        if result.run.seed == first[result.run.group]
    }
    found = [
        (*chosen[key], one, read_slices(one.slices))
        for one in data.records.scored
        if one.slices is not None
        and (key := (one.dataset, one.sequence, one.run.identity)) in chosen
    ]
    return sorted(found, key=lambda item: (item[0], item[2].case_id, item[2].sequence))


def _intermediate(data: FigureData) -> list[Picture]:
    """From input to anomaly map by one method (the paper's Fig. 4, 5 and 7)."""
    groups: dict[tuple[str, str], dict[str, dict[str, Slice]]] = {}
    outlines: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for label, variant, one, slices in _with_slices(data):
        if not slices.extras:
            continue
        row = {"input": Slice(slices.image, "image")}
        row |= {name: Slice(extra, "image") for name, extra in slices.extras.items()}
        if slices.pseudo_healthy is not None:
            row["pseudo-healthy"] = Slice(slices.pseudo_healthy, "image")
        row["anomaly map"] = Slice(slices.anomaly[variant], "score")
        name = f"{one.case_id} {one.sequence}"
        groups.setdefault((one.dataset, label), {})[name] = row
        outlines.setdefault((one.dataset, label), {})[name] = slices.lesion
    pictures = []
    for (dataset, label), rows in groups.items():
        caption = f"Steps of {label}: {dataset}"
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        figure = comparison_figure(rows, columns, outlines[dataset, label], caption)
        pictures.append(data.save_brains(figure, f"steps_{label}_{dataset}", caption, dataset))
    return pictures


def _vectors(data: FigureData) -> list[Picture]:
    """Vectors of every run that has some (the paper's Fig. 6 and F.1)."""
    called = labels(plans_by_group(data.infos))
    first: dict[str, Run] = {}
    for run in sorted(data.infos, key=lambda one: one.identity):
        first.setdefault(called[run.identity.group], run)
    pictures = []
    for label, run in sorted(first.items()):
        known: dict[str, list[tuple[str, str, np.ndarray, np.ndarray | None]]] = {}
        for one in (*data.records.held_out, *data.records.scored):
            if one.run != run or one.vectors is None:
                continue
            vectors = read_vectors(one.vectors)
            healthy = one.dataset == HELD_OUT
            dataset = f"{run.training_set} (healthy)" if healthy else one.dataset
            for name, vector in vectors.image.items():
                if name == "anatomy" and not healthy:
                    continue
                restored = vectors.restored.get(name)
                known.setdefault(name, []).append((dataset, one.sequence, vector, restored))
        for name, points in known.items():
            pictures.append(_embedding(data, label, name, points))
    return pictures


def _embedding(
    data: FigureData,
    label: str,
    name: str,
    points: Sequence[tuple[str, str, np.ndarray, np.ndarray | None]],
) -> Picture:
    datasets, sequences, vectors, restored = zip(*points, strict=True)
    arrows = all(one is not None for one in restored)
    plane, kind = embed(np.stack([*vectors, *(restored if arrows else ())]))
    caption = f"{kind} of {name}, {label}"
    figure = embedding_figure(
        plane[: len(vectors)],
        datasets,
        sequences,
        f"{caption}{': arrows to the restored image' if arrows else ''}",
        targets=plane[len(vectors) :] if arrows else None,
    )
    return data.save(figure, f"vectors_{name}_{label}", caption)


def _sweeps(data: FigureData) -> list[Picture]:
    if data.sweeps.empty:
        return []
    columns = [c for c in data.sweeps.columns if c.endswith(" AP") and c != "mean AP"]
    long = data.sweeps.melt(["key", "value", "dataset", "run"], columns, "of", "AP")
    long["name"] = long["dataset"] + " " + long["of"].str.removesuffix(" AP")
    if data.sweeps["run"].nunique() > 1:
        long["name"] += ", " + long["run"]
    pictures = []
    for key, table in long.dropna(subset="AP").groupby("key"):
        figure = sweep_figure(table, f"AP over {key}")
        pictures.append(data.save(figure, f"hyper-parameter_{key}", f"AP over {key}"))
    return pictures


def _slug(text: str) -> str:
    """A name for files: letters, digits, and what is harmless between them."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")
