"""The report's figures, from cells and records: each as PNG and as SVG."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dal_auto.evaluation.paper.reference import DATASETS
from dal_auto.evaluation.paper.rows import RunName, labels, main_runs, plans_by_name
from dal_auto.evaluation.pictures.slices import read_arrays
from dal_auto.evaluation.report.page import Picture
from dal_auto.evaluation.result_store import Cell
from dal_auto.evaluation.run_info import RunFacts
from dal_auto.evaluation.scores import HELD_OUT, Records, Scored
from dal_auto.figures.boxes import box_figure
from dal_auto.figures.comparison import Slice, comparison_figure
from dal_auto.figures.curves import precision_recall_figure, sensitivity_figure, sweep_figure
from dal_auto.figures.embedding import embed, embedding_figure
from dal_auto.figures.files import save_figure
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What figures are drawn from.

    Parameters
    ----------
    cells : of all runs
    cases, sizes, sweeps : of `tables.cases_table`, `tables.lesion_sizes_table`, and the numbers of
        `ablation_tables.sweeps_table`
    """

    folder: Path
    records: Records
    facts: Mapping[Run, RunFacts]
    cells: Sequence[Cell]
    cases: pd.DataFrame
    sizes: pd.DataFrame
    sweeps: pd.DataFrame

    def shown_cells(self) -> list[tuple[str, Cell]]:
        """Cells of runs that are no part of an ablation, with what the run is called."""
        called = main_runs(self.facts)
        found = [(called.get(_name(cell.run)), cell) for cell in self.cells]
        return [(label, cell) for label, cell in found if label is not None]

    def save(self, figure: object, stem: str, caption: str, dataset: str = "") -> Picture:
        path = save_figure(figure, self.folder / _slug(stem))  # type: ignore[arg-type]
        return Picture(path, caption, dataset, "", "", "")


def draw_all(material: Material, problems: list[str]) -> list[Picture]:
    """Every figure that there is material for; one that fails is named in `problems`."""
    pictures: list[Picture] = []
    kinds: dict[str, Callable[[Material], list[Picture]]] = {
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
            pictures += draw(material)
        except Exception as error:  # a figure that fails must not take the report with it
            logger.debug("figure %s", name, exc_info=True)
            problems.append(f"figure “{name}”: {type(error).__name__}: {error}")
    return pictures


def _precision_recall(material: Material) -> list[Picture]:
    groups: dict[tuple[str, str], dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {}
    for label, cell in material.shown_cells():
        curves = groups.setdefault((cell.dataset, cell.sequence), {})
        curves.setdefault(label, []).append(cell.curve)
    return [
        material.save(
            precision_recall_figure(curves, f"{dataset} {sequence}"),
            f"precision-recall_{dataset}_{sequence}",
            f"Precision over recall: {dataset} {sequence}",
            dataset,
        )
        for (dataset, sequence), curves in groups.items()
    ]


def _sensitivity(material: Material) -> list[Picture]:
    if material.sizes.empty:
        return []
    called = {str(cell.run): label for label, cell in material.shown_cells()}
    sizes = material.sizes.assign(method=material.sizes["run"].map(called))
    pictures = []
    for dataset, table in sizes.dropna(subset="method").groupby("dataset"):
        title = f"{dataset}: lesions found, by size"
        panels = {str(sequence): part for sequence, part in table.groupby("sequence")}
        figure = sensitivity_figure(panels, title)
        pictures.append(material.save(figure, f"sensitivity_{dataset}", title, str(dataset)))
    return pictures


def _boxes(material: Material) -> list[Picture]:
    if material.cases.empty:
        return []
    chosen = {(cell.dataset, cell.sequence, str(cell.run), cell.method) for cell in material.cells}
    called = {str(cell.run): label for label, cell in material.shown_cells()}
    keys = material.cases[["dataset", "sequence", "run", "method"]].itertuples(index=False)
    cases = material.cases[[tuple(key) in chosen for key in keys]]
    cases = cases.assign(method=cases["run"].map(called)).dropna(subset="method")
    pictures = []
    for sequence, table in cases.groupby("sequence"):
        there = sorted(set(table["dataset"]), key=_paper_order)
        groups = {name: "\n".join(filter(None, (name, _pathology(name)))) for name in there}
        title = f"DSC of the cases at each dataset's best threshold, {sequence}"
        figure = box_figure(table, "DSC", groups, title)
        pictures.append(material.save(figure, f"boxes_{sequence}", title))
    return pictures


def _pathology(dataset: str) -> str:
    return DATASETS[dataset][0].replace(" (", "\n(") if dataset in DATASETS else ""


def _paper_order(dataset: str) -> tuple[int, str]:
    known = list(DATASETS)
    return (known.index(dataset) if dataset in known else len(known), dataset)


def _anomaly_maps(material: Material) -> list[Picture]:
    return _side_by_side(material, "anomaly-maps", "Anomaly maps, each scaled to its largest score")


def _pseudo_healthy(material: Material) -> list[Picture]:
    return _side_by_side(material, "pseudo-healthy", "Pseudo-healthy images")


def _side_by_side(material: Material, kind: str, caption: str) -> list[Picture]:
    """The same cases by all methods, of the first seed of each (the paper's Fig. 2 and 3)."""
    groups: dict[str, dict[str, dict[str, Slice]]] = {}
    outlines: dict[str, np.ndarray] = {}
    columns: dict[str, list[str]] = {}
    for label, variant, one in _with_slices(material):
        arrays = read_arrays(one.slices) if one.slices else {}
        wanted = f"anomaly {variant}" if kind == "anomaly-maps" else "pseudo-healthy"
        if wanted not in arrays:
            continue
        name = f"{one.case_id} {one.sequence}"
        row = groups.setdefault(one.dataset, {}).setdefault(name, {})
        row.setdefault("input", Slice(arrays["input"], "image"))
        row[label] = Slice(arrays[wanted], "score" if kind == "anomaly-maps" else "image")
        outlines[f"{one.dataset} {name}"] = arrays["lesion"]
        order = columns.setdefault(one.dataset, ["input"])
        if label not in order:
            order.append(label)
    return [
        material.save(
            comparison_figure(
                dict(sorted(rows.items())),
                columns[dataset],
                {name: outlines[f"{dataset} {name}"] for name in rows},
                f"{dataset}: {caption[0].lower()}{caption[1:]}",
            ),
            f"{kind}_{dataset}",
            f"{caption}: {dataset}",
            dataset,
        )
        for dataset, rows in groups.items()
    ]


def _with_slices(material: Material) -> list[tuple[str, str, Scored]]:
    """(run's label, best variant, record) of every record with slices, of each first seed."""
    first: dict[RunName, int] = {}
    for _, cell in material.shown_cells():
        first[_name(cell.run)] = min(cell.run.seed, first.get(_name(cell.run), cell.run.seed))
    chosen = {
        (cell.dataset, cell.sequence, cell.run): (label, str(cell.results["variant"]))
        for label, cell in material.shown_cells()
        if cell.run.seed == first[_name(cell.run)]
    }
    found = [
        (*chosen[key], one)
        for one in material.records.scored
        if one.slices is not None and (key := (one.dataset, one.sequence, one.run)) in chosen
    ]
    return sorted(found, key=lambda item: (item[0], item[2].case_id, item[2].sequence))


def _intermediate(material: Material) -> list[Picture]:
    """From input to anomaly map by one method (the paper's Fig. 4, 5 and 7)."""
    groups: dict[tuple[str, str], dict[str, dict[str, Slice]]] = {}
    outlines: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for label, variant, one in _with_slices(material):
        arrays = read_arrays(one.slices) if one.slices else {}
        extras = [name for name in arrays if name.startswith("extra ")]
        if not extras:
            continue
        row = {"input": Slice(arrays["input"], "image")}
        row |= {name.removeprefix("extra "): Slice(arrays[name], "image") for name in extras}
        if "pseudo-healthy" in arrays:
            row["pseudo-healthy"] = Slice(arrays["pseudo-healthy"], "image")
        row["anomaly map"] = Slice(arrays[f"anomaly {variant}"], "score")
        name = f"{one.case_id} {one.sequence}"
        groups.setdefault((one.dataset, label), {})[name] = row
        outlines.setdefault((one.dataset, label), {})[name] = arrays["lesion"]
    pictures = []
    for (dataset, label), rows in groups.items():
        caption = f"Steps of {label}: {dataset}"
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        figure = comparison_figure(rows, columns, outlines[dataset, label], caption)
        pictures.append(material.save(figure, f"steps_{label}_{dataset}", caption, dataset))
    return pictures


def _vectors(material: Material) -> list[Picture]:
    """Vectors of every run that has some (the paper's Fig. 6 and F.1)."""
    called = labels(plans_by_name(material.facts))
    first: dict[str, Run] = {}
    for run in sorted(material.facts, key=lambda one: (one.seed, str(one))):
        first.setdefault(called[_name(run)], run)
    pictures = []
    for label, run in sorted(first.items()):
        known: dict[str, list[tuple[str, str, np.ndarray, np.ndarray | None]]] = {}
        for one in (*material.records.held_out, *material.records.scored):
            if one.run != run or one.vectors is None:
                continue
            arrays = read_arrays(one.vectors)
            healthy = one.dataset == HELD_OUT
            dataset = f"{run.training_set} (healthy)" if healthy else one.dataset
            for name, vector in arrays.items():
                if name.endswith(" restored") or (name == "anatomy" and not healthy):
                    continue
                restored = arrays.get(f"{name} restored")
                known.setdefault(name, []).append((dataset, one.sequence, vector, restored))
        for name, points in known.items():
            pictures.append(_embedding(material, label, name, points))
    return pictures


def _embedding(
    material: Material,
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
    return material.save(figure, f"vectors_{name}_{label}", caption)


def _sweeps(material: Material) -> list[Picture]:
    if material.sweeps.empty:
        return []
    columns = [c for c in material.sweeps.columns if c.endswith(" AP") and c != "mean AP"]
    long = material.sweeps.melt(["key", "value", "dataset", "run"], columns, "of", "AP")
    long["name"] = long["dataset"] + " " + long["of"].str.removesuffix(" AP")
    if material.sweeps["run"].nunique() > 1:
        long["name"] += ", " + long["run"]
    pictures = []
    for key, table in long.dropna(subset="AP").groupby("key"):
        figure = sweep_figure(table, f"AP over {key}")
        pictures.append(material.save(figure, f"hyper-parameter_{key}", f"AP over {key}"))
    return pictures


def _name(run: Run) -> RunName:
    return (run.training_set, run.name)


def _slug(text: str) -> str:
    """A name for files: letters, digits, and what is harmless between them."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")
