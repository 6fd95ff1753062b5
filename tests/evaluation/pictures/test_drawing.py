"""What each figure is drawn from, and that one which fails takes no other with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.evaluation.pictures import drawing
from dal_auto.evaluation.pictures.drawing import FigureData, draw_all
from dal_auto.evaluation.pictures.slices import Slices, Vectors
from dal_auto.evaluation.result import Result
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.evaluation.scores import HELD_OUT, Records, ScoredImage
from dal_auto.evaluation.tables import cases_table, lesion_sizes_table
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.store.runs import Run

FIGURES = (
    "strip_figure",
    "precision_recall_figure",
    "sensitivity_figure",
    "box_figure",
    "comparison_figure",
    "embedding_figure",
    "sweep_figure",
)


@pytest.fixture
def drawn(monkeypatch) -> dict[str, list[tuple]]:
    """Name of a figure's function → the arguments of each call; nothing is drawn or written."""
    calls: dict[str, list[tuple]] = {name: [] for name in FIGURES}

    def note(name: str):
        def draw(*arguments, **named):
            calls[name].append((*arguments, *named.values()))
            return Figure()

        return draw

    for name in FIGURES:
        monkeypatch.setattr(drawing, name, note(name))
    monkeypatch.setattr(drawing, "save_figure", lambda _, stem: stem.with_name(f"{stem.name}.png"))
    monkeypatch.setattr(drawing, "embed", lambda rows: (rows[:, :2], "PCA"))
    return calls


@pytest.fixture
def infos(make, tmp_path):
    """Runs by (method, seed); one of DAL is an ablation, in a folder of its own."""

    def of(*keys: tuple[str, int], **overrides) -> dict[Run, RunInfo]:
        found = {}
        for method, seed in keys:
            name = f"{method}__demo__robust{'__0123abcd' if overrides else ''}"
            plans = make.plans_of(method, **overrides)
            run = Run(tmp_path / "IXI" / name / f"seed_{seed}")
            found[run] = RunInfo(plans, {}, "", frozenset(), "")
        return found

    return of


@pytest.fixture
def data(tmp_path):
    """What figures are drawn from: what is not given is empty."""

    def of(
        infos: dict[Run, RunInfo],
        results: Sequence[Result] = (),
        scored: Sequence[ScoredImage] = (),
        held_out: Sequence[ScoredImage] = (),
        sweeps: pd.DataFrame | None = None,
    ) -> FigureData:
        return FigureData(
            folder=tmp_path / "figures",
            records=Records(list(scored), list(held_out), []),
            infos=infos,
            results=results,
            cases=cases_table(results),
            sizes=lesion_sizes_table(results),
            sweeps=pd.DataFrame() if sweeps is None else sweeps,
        )

    return of


@pytest.fixture
def with_slices(make, monkeypatch):
    """Records with slices, which hold the number of their record; DAL has extras."""
    kept: dict[Path, Slices] = {}
    monkeypatch.setattr(drawing, "read_slices", kept.__getitem__)

    def of(run: Run, case: str, dataset: str = "MSLUB", sequence: str = "T1", **changed):
        one = make.scored_image(run, case, [0.5], [1], dataset=dataset, sequence=sequence)
        path = one.folder / f"{case}_{sequence}_slices.npz"
        path.write_bytes(b"")
        slice_of = np.full((2, 2), len(kept), np.uint8)
        found = Slices(
            image=slice_of,
            lesion=slice_of,
            pseudo_healthy=slice_of if run.method != "raw-intensity" else None,
            extras={"anatomy": slice_of} if run.method == "DAL" else {},
            anomaly={"": slice_of, "dark": slice_of},
        )
        kept[path] = replace(found, **changed)
        return one

    return of


def stems(pictures) -> list[str]:
    return [picture.path.stem for picture in pictures]


def test_of_nothing_nothing_is_drawn(drawn, data, infos):
    problems: list[str] = []
    assert draw_all(data({}), problems) == draw_all(data(infos(("DAL", 0))), problems) == []
    assert problems == [] and not any(drawn.values())


def test_a_figure_that_fails_is_named_and_stops_no_other(drawn, data, infos, make, monkeypatch):
    monkeypatch.setattr(drawing, "precision_recall_figure", lambda *_: 1 / 0)
    problems = ["an earlier one"]
    pictures = draw_all(data(infos(("DAL", 0)), [make.result()]), problems)
    assert stems(pictures) == ["boxes_T1"]
    assert problems == [
        "an earlier one",
        "figure “precision over recall”: ZeroDivisionError: division by zero",
    ]


def test_a_figure_is_saved_as_a_chart_or_as_brains_under_a_harmless_name(drawn, data, tmp_path):
    one = data({})
    chart = one.save(Figure(), "boxes_DAL (score=l1)/T1", "Boxes", "A")
    assert chart.path == tmp_path / "figures" / "boxes_DAL-score-l1-T1.png"
    assert (chart.caption, chart.dataset, chart.chart, chart.lead) == ("Boxes", "A", True, False)
    assert not one.save_brains(Figure(), "strip", "Brains").chart
    assert one.save(Figure(), "../x", "X").path.parent == tmp_path / "figures"


def test_seeds_share_a_curve_and_ablations_have_none(drawn, data, infos, make):
    known = infos(("DAL", 0), ("DAL", 1), ("AE", 0)) | infos(("VAE", 0), scoring__score="l1")
    results = [
        make.result(method=method, seed=seed, dataset=dataset)
        for dataset in ("MSLUB", "ATLAS")
        for method, seed in (("DAL", 0), ("DAL", 1), ("AE", 0), ("VAE", 0))
    ]
    pictures = drawing._precision_recall(data(known, results))
    assert stems(pictures) == ["precision-recall_MSLUB_T1", "precision-recall_ATLAS_T1"]
    assert [picture.dataset for picture in pictures] == ["MSLUB", "ATLAS"]
    curves, title = drawn["precision_recall_figure"][0]
    assert {name: len(seeds) for name, seeds in curves.items()} == {"DAL": 2, "AE": 1}
    assert title == "MSLUB T1"
    np.testing.assert_array_equal(curves["AE"][0], [results[2].recall, results[2].precision])


def test_lesions_by_size_have_a_panel_for_each_sequence(drawn, data, infos, make):
    lesions = [LesionScore(0.5, 0.75, 0.5)]
    known = infos(("DAL", 0)) | infos(("AE", 0), scoring__score="l1")
    results = [
        make.result(method=method, sequence=sequence, lesions=lesions, practical_threshold=0.5)
        for method in ("DAL", "AE")
        for sequence in ("T2", "T1")
    ]
    (picture,) = drawing._sensitivity(data(known, results))
    ((panels, _),) = drawn["sensitivity_figure"]
    assert picture.dataset == "MSLUB" and sorted(panels) == ["T1", "T2"]
    assert set(panels["T1"]["method"]) == {"DAL"} and panels["T2"]["lesions"].sum() == 1


def test_boxes_are_of_the_best_variant_with_the_papers_datasets_first(drawn, data, infos, make):
    known = infos(("raw-intensity", 0))
    results = []
    for dataset in ("Mine", "ATLAS", "BraTS-SSA"):
        bright = make.result(
            method="raw-intensity", variant="bright", dataset=dataset, cases={"a": 1.0}
        )
        dark = make.result(variant="dark", cases={"b": 2.0, "c": 3.0})
        results.append(bright.model_copy(update={"cases": [*dark.cases, *bright.cases]}))
    (picture,) = drawing._boxes(data(known, results))
    ((table, metric, groups, title),) = drawn["box_figure"]
    assert stems([picture]) == ["boxes_T1"] and metric == "DSC" and title.endswith("T1")
    assert set(table["case"]) == {"a"} and set(table["method"]) == {"raw-intensity"}
    assert groups == {
        "BraTS-SSA": "BraTS-SSA\nAdult glioma\n(low-quality)",
        "ATLAS": "ATLAS\nStroke",
        "Mine": "Mine",
    }
    assert list(groups) == ["BraTS-SSA", "ATLAS", "Mine"]


def test_methods_stand_side_by_side_by_their_first_seeds(drawn, data, infos, make, with_slices):
    known = infos(("DAL", 2), ("DAL", 1), ("AE", 0), ("raw-intensity", 0))
    second, first, other, raw = known
    results = [
        make.result(method=run.method, seed=run.seed, variant="dark" if run is raw else "")
        for run in known
    ]
    scored = [with_slices(run, case) for case in "ba" for run in (raw, other, second, first)]
    scored.append(make.scored_image(first, "without slices", [0.5], [1]))
    one = data(known, results, scored)
    (maps,), (healthy,) = drawing._anomaly_maps(one), drawing._pseudo_healthy(one)
    assert stems([maps, healthy]) == ["anomaly-maps_MSLUB", "pseudo-healthy_MSLUB"]
    assert not maps.chart and maps.dataset == "MSLUB"
    (rows, columns, outlines, _), (healthy_rows, healthy_columns, _, _) = drawn["comparison_figure"]
    assert list(rows) == ["a T1", "b T1"] == sorted(outlines)
    assert columns == ["input", "AE", "DAL", "raw-intensity"]
    assert healthy_columns == ["input", "AE", "DAL"], "the others restore nothing"
    assert rows["b T1"]["DAL"].picture[0, 0] == 3, "of seed 1, not of seed 2"
    assert rows["a T1"]["AE"].kind == "score" and rows["a T1"]["input"].kind == "image"
    assert healthy_rows["a T1"]["AE"].kind == "image"


def test_steps_go_from_the_input_to_the_map(drawn, data, infos, make, with_slices):
    known = infos(("DAL", 0), ("AE", 0))
    results = [make.result(method=run.method) for run in known]
    scored = [with_slices(run, "a") for run in known]
    (picture,) = drawing._intermediate(data(known, results, scored))
    ((rows, columns, outlines, title),) = drawn["comparison_figure"]
    assert columns == ["input", "anatomy", "pseudo-healthy", "anomaly map"]
    assert list(rows["a T1"]) == columns and list(outlines) == ["a T1"]
    assert title == picture.caption == "Steps of DAL: MSLUB"


def test_the_strip_leads_with_three_cases_of_one_method(drawn, data, infos, make, with_slices):
    known = infos(("mean-brain", 0), ("VAE", 0), ("DAL", 0), ("raw-intensity", 0))
    results = [
        make.result(method=run.method, sequence=sequence)
        for run in known
        for sequence in ("T1", "T2")
    ]
    scored = [
        with_slices(run, case, sequence=sequence)
        for run in known
        for case in "dcba"
        for sequence in ("T2", "T1")
    ]
    (picture,) = drawing._strip(data(known, results, scored))
    ((rows, outlines),) = drawn["strip_figure"]
    assert list(rows) == ["MSLUB a T1", "MSLUB b T1", "MSLUB c T1"] == list(outlines)
    assert list(rows["MSLUB a T1"]) == ["input", "pseudo-healthy", "anomaly map"]
    assert picture.lead and picture.caption.startswith("DAL: input")
    trivial = {run: one for run, one in known.items() if one.trivial}
    assert drawing._strip(data(trivial, results, scored)) == []


def test_vectors_of_healthy_and_of_scored_images_share_a_plane(
    drawn, data, infos, make, monkeypatch
):
    known = infos(("DAL", 1), ("DAL", 0))
    second, first = known
    vector = np.ones(3, np.float16)
    whole = Vectors({"modality": vector, "anatomy": vector}, {"modality": 2 * vector})
    monkeypatch.setattr(drawing, "read_vectors", lambda _: whole)

    def image(run: Run, case: str, dataset: str) -> ScoredImage:
        one = make.scored_image(run, case, [0.5], [1], dataset=dataset)
        (one.folder / f"{case}_T1_vectors.npz").write_bytes(b"")
        return one

    scored = [image(first, "a", "MSLUB"), image(second, "b", "MSLUB")]
    scored.append(make.scored_image(first, "c", [0.5], [1]))  # without vectors
    one = data(known, scored=scored, held_out=[image(first, "h", HELD_OUT)])
    pictures = drawing._vectors(one)
    assert stems(pictures) == ["vectors_modality_DAL", "vectors_anatomy_DAL"]
    (plane, datasets, sequences, title, targets), anatomy = drawn["embedding_figure"]
    assert datasets == ("IXI (healthy)", "MSLUB") and sequences == ("T1", "T1")
    assert plane.tolist() == [[1, 1]] * 2 and targets.tolist() == [[2, 2]] * 2
    assert title == "PCA of modality, DAL: arrows to the restored image"
    assert anatomy[1] == ("IXI (healthy)",) and anatomy[4] is None, "lesions change an anatomy"
    assert pictures[1].caption == "PCA of anatomy, DAL"


def test_a_hyper_parameter_has_a_line_for_each_dataset_and_sequence(drawn, data):
    table = pd.DataFrame(
        {
            "key": ["lr", "lr", "width"],
            "value": [1, 2, 3],
            "dataset": "MSLUB",
            "run": "DAL, demo",
            "T1 AP": [10.0, 20.0, 30.0],
            "T2 AP": [math.nan, 40.0, math.nan],
            "mean AP": [1.0, 1.0, 1.0],
            "T1 AP std": [0.1, 0.1, 0.1],
        }
    )
    pictures = drawing._sweeps(data({}, sweeps=table))
    assert stems(pictures) == ["hyper-parameter_lr", "hyper-parameter_width"]
    first = drawn["sweep_figure"][0][0]
    assert first[["name", "value", "AP"]].to_dict("split")["data"] == [
        ["MSLUB T1", 1, 10.0],
        ["MSLUB T1", 2, 20.0],
        ["MSLUB T2", 2, 40.0],
    ]
    drawing._sweeps(data({}, sweeps=table.assign(run=["a", "b", "a"])))
    names = drawn["sweep_figure"][2][0]["name"].tolist()
    assert names == ["MSLUB T1, a", "MSLUB T1, b", "MSLUB T2, b"]
