"""Figures of the report show the values they were given; equal figures give equal files."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.figures.boxes import box_figure
from dal_auto.figures.comparison import Slice, comparison_figure, strip_figure
from dal_auto.figures.curves import precision_recall_figure, sensitivity_figure, sweep_figure
from dal_auto.figures.embedding import embed, embedding_figure
from dal_auto.figures.files import save_figure


def some_figure() -> Figure:
    rng = np.random.default_rng(0)
    return embedding_figure(rng.random((6, 2)), list("aabbcc"), ["T1", "T2"] * 3, "title")


def test_png_and_svg_are_the_same_bytes_again_without_dates(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert save_figure(some_figure(), tmp_path / name / "a.b").name == "a.b.png"
    for suffix in (".png", ".svg"):
        first, second = (tmp_path / n / f"a.b{suffix}" for n in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    text = (tmp_path / "first" / "a.b.svg").read_text(encoding="utf-8")
    assert "dc:date" not in text and "matplotlib" not in text.lower().split("<defs>")[0]
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "title" in text, "text stays text"


def test_seeds_of_a_method_share_name_and_colour():
    curve = (np.array([0.5, 1.0]), np.array([1.0, 0.5]))
    (axes,) = precision_recall_figure({"DAL": [curve] * 3, "AE": [curve]}, "t").axes
    assert len(axes.lines) == 4
    assert len({line.get_color() for line in axes.lines[:3]}) == 1
    assert axes.lines[3].get_color() != axes.lines[0].get_color()
    assert axes.get_legend_handles_labels()[1] == ["DAL", "AE"]


def sizes() -> pd.DataFrame:
    rows = []
    for method, seed, found in (("DAL", 0, 20.0), ("DAL", 1, 40.0), ("AE", 0, 10.0)):
        for low, high, lesions, add in ((0.0, 0.1, 7, 0), (0.1, 1.0, 0, 1), (1.0, np.inf, 3, 50)):
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "from ml": low,
                    "below ml": high,
                    "lesions": lesions,
                    "found": found + add if lesions else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def test_sensitivity_is_the_mean_of_seeds_by_class_of_volume():
    figure = sensitivity_figure({"T1": sizes(), "T2": sizes()}, "MSLUB")
    first = figure.axes[0]
    np.testing.assert_allclose(first.lines[0].get_xydata(), [[0, 30], [2, 80]])
    labels = [text.get_text() for text in first.get_xticklabels()]
    assert labels == ["< 0.1\n7 lesions", "0.1–1\n0 lesions", "≥ 1\n3 lesions"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["T1", "T2"]


def test_a_sweep_is_drawn_in_the_order_of_its_values():
    table = pd.DataFrame({"name": "MSLUB T1", "value": [3, 0, 5], "AP": [2.0, 1.0, 3.0]})
    (line,) = sweep_figure(table, "filter").axes[0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[0, 1], [3, 2], [5, 3]])


def test_boxes_stand_on_the_quartiles_of_their_cases():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "dataset": ["A"] * 20 + ["B"] * 20,
            "method": ["DAL", "AE"] * 20,
            "DSC": [*rng.random(39) * 100, float("nan")],
        }
    )
    figure = box_figure(table, "DSC", {"A": "A\nglioma", "B": "B", "C": "C"}, "title")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["A\nglioma", "B", "C"]
    boxes = axes.patches
    assert len(boxes) == 4
    first = table[(table["dataset"] == "A") & (table["method"] == "DAL")]["DSC"]
    y = boxes[0].get_path().vertices[:, 1]
    assert (y.min(), y.max()) == pytest.approx(tuple(first.quantile([0.25, 0.75])))


def test_slices_lie_in_their_cells_with_the_lesion_over_the_first():
    image = np.zeros((20, 30), np.uint8)
    image[6:14, 6:24] = 100
    image[6, 6] = 255  # the patient's right, anterior
    lesion = np.zeros((20, 30), np.uint8)
    lesion[8:10, 10:14] = 1
    row = {"input": Slice(image, "image"), "DAL": Slice(image, "score")}
    rows = {"case T1": row, "case T2": {"input": Slice(image, "image")}}
    figure = comparison_figure(rows, ["input", "DAL"], {"case T1": lesion}, "title")
    (axes,) = figure.axes
    drawn = {picture.get_label(): picture for picture in axes.images}
    assert set(drawn) == {"case T1, input", "case T1, DAL", "case T2, input"}
    shown = drawn["case T1, input"].get_array()
    assert shown.shape == (26, 16), "cropped to the brain and its margin"
    assert shown[4, 4] == 255, "right on the left, anterior up"
    left, right, bottom, top = drawn["case T1, input"].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(26 / 16), "a millimetre is a millimetre"
    assert drawn["case T1, DAL"].get_extent()[0] > right
    assert drawn["case T2, input"].get_extent()[3] > bottom
    (contour,) = axes.collections
    x, y = contour.get_paths()[0].vertices.T
    assert left < x.min() < x.max() < right and top < y.min() < y.max() < bottom


def test_a_strip_has_its_cases_beside_each_other():
    image = np.full((20, 30), 100, np.uint8)
    lesion = np.zeros((20, 30), np.uint8)
    lesion[8:10, 10:14] = 1
    slices = {"input": Slice(image, "image"), "map": Slice(image, "score")}
    (axes,) = strip_figure({"a": slices, "b": slices}, {"b": lesion}).axes
    places = {picture.get_label(): picture.get_extent() for picture in axes.images}
    assert list(places) == ["a, input", "a, map", "b, input", "b, map"]
    assert [left for left, *_ in places.values()] == sorted(left for left, *_ in places.values())
    assert len({(bottom, top) for *_, bottom, top in places.values()}) == 1
    (contour,) = axes.collections
    x, _ = contour.get_paths()[0].vertices.T
    assert places["b, input"][0] < x.min() < x.max() < places["b, input"][1]


def test_an_embedding_keeps_groups_apart_and_repeats():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(30, 40)) + 20 * (np.arange(30) < 15)[:, None]
    points, name = embed(vectors)
    assert name == "t-SNE" and points.shape == (30, 2)
    np.testing.assert_array_equal(points, embed(vectors)[0])
    centres = points[:15].mean(axis=0), points[15:].mean(axis=0)
    within = max(points[:15].std(), points[15:].std())
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * within


def test_without_scikit_learn_it_is_pca_and_says_so(monkeypatch):
    from sklearn.decomposition import PCA

    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    vectors = np.random.default_rng(3).normal(size=(24, 5)) * [5, 3, 1, 1, 1]
    expected = PCA(2).fit_transform(vectors)
    monkeypatch.setattr(builtins, "__import__", without)
    points, name = embed(vectors)
    assert name == "PCA"
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-9)


@pytest.mark.parametrize("number", [1, 2, 3, 19])
def test_few_vectors_have_places_too(number):
    points, name = embed(np.random.default_rng(4).normal(size=(number, 7)))
    assert name == "PCA" and points.shape == (number, 2) and np.isfinite(points).all()


def test_groups_look_different_even_beyond_the_colours():
    names = [f"dataset {number}" for number in range(10) for _ in range(2)]
    figure = embedding_figure(
        np.random.default_rng(5).random((20, 2)), names, ["T1", "T2"] * 10, "title"
    )
    looks = set()
    for points in figure.axes[0].collections:
        path = points.get_paths()[0].vertices.round(3).tobytes()
        looks.add((path, tuple(points.get_facecolor()[0]), tuple(points.get_edgecolor()[0])))
    assert len(looks) == 20


def test_arrows_lead_to_their_targets():
    points, targets = np.zeros((3, 2)), np.array([[1.0, 2.0], [0, 0], [-1, 0]])
    figure = embedding_figure(points, ["a"] * 3, ["T1"] * 3, "title", targets=targets)
    arrows = figure.axes[0].collections[-1]
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), targets)
    assert figure.axes[0].get_ylim()[1] >= 2
