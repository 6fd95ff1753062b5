"""Pictures keep sides, scale and lesion; equal figures give equal bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from dal_auto.figures.curves import precision_recall_figure, training_curves
from dal_auto.figures.panels import three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.figures.view import CONTOUR, Volume, view_point

SHAPE = (24, 32, 20)
MM = (1.0, 1.0, 1.0)


def brain() -> np.ndarray:
    """A dim block with air around it."""
    image = np.zeros(SHAPE, np.float32)
    image[3:-3, 3:-3, 3:-3] = 0.2
    return image


def pixels(figure: Figure) -> np.ndarray:
    """(row, column, 3) picture in [0, 1]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def axes_named(figure: Figure, label: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == label)


def brightest(figure: Figure, label: str) -> tuple[float, float]:
    """Where the bright block is inside axes: fractions (from the left, from the top)."""
    axes = axes_named(figure, label)
    for text in axes.texts:
        text.set_visible(False)
    picture = pixels(figure)
    box = axes.get_window_extent()
    height = picture.shape[0]
    inside = picture[
        round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)
    ].min(axis=2)
    rows, columns = np.nonzero(inside > 0.9)
    return columns.mean() / inside.shape[1], rows.mean() / inside.shape[0]


# x → left, y → posterior, z → superior: low indices are right, anterior, inferior.
@pytest.mark.parametrize(
    ("view", "spot", "left", "top"),
    [
        ("axial", (5, 16, 10), True, None),  # the patient's right is on the left
        ("axial", (18, 16, 10), False, None),
        ("axial", (12, 5, 10), None, True),  # anterior is up
        ("coronal", (5, 16, 10), True, None),
        ("coronal", (12, 16, 15), None, True),  # superior is up
        ("sagittal", (12, 5, 10), True, None),  # anterior is on the left
        ("sagittal", (12, 16, 15), None, True),
    ],
)
def test_views_are_radiological(view, spot, left, top):
    image = brain()
    x, y, z = spot
    image[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 1
    figure = three_view_panel([Volume("input", image, "image", 1.0)], spacing_mm=MM, title="")
    # Without a mask the view goes through the brain's middle; the spots lie in its planes.
    across, down = brightest(figure, f"input, {view}")
    if left is not None:
        assert (across < 0.5) == left
    if top is not None:
        assert (down < 0.5) == top


def test_sides_are_marked_r_on_the_left_of_axial_and_coronal():
    figure = three_view_panel([Volume("input", brain(), "image")], spacing_mm=MM, title="")
    for view in ("axial", "coronal"):
        texts = {
            t.get_text(): t.get_position()[0] for t in axes_named(figure, f"input, {view}").texts
        }
        assert texts["R"] < 0.5 < texts["L"]


@given(st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 4.0])] * 3))
@settings(max_examples=8, deadline=None)
def test_a_millimetre_is_as_long_in_every_view_and_direction(spacing_mm):
    figure = three_view_panel([Volume("input", brain(), "image")], spacing_mm=spacing_mm, title="")
    pixels_per_mm = []
    for view, (across, down) in {"sagittal": (1, 2), "coronal": (0, 2), "axial": (0, 1)}.items():
        axes = axes_named(figure, f"input, {view}")
        axes.apply_aspect()
        rows, columns = axes.images[0].get_array().shape
        box = axes.get_window_extent()
        pixels_per_mm += [
            box.width / (columns * spacing_mm[across]),
            box.height / (rows * spacing_mm[down]),
        ]
    np.testing.assert_allclose(pixels_per_mm, pixels_per_mm[0], rtol=1e-6)


def test_the_lesion_is_outlined_over_input_and_score_only():
    mask = np.zeros(SHAPE, bool)
    mask[8:14, 10:18, 8:12] = True
    volumes = [
        Volume("input", brain(), "image"),
        Volume("pseudo-healthy", brain(), "image"),
        Volume("anomaly map", brain(), "score"),
        Volume("edges", brain(), "edges"),
    ]
    figure = three_view_panel(volumes, spacing_mm=MM, mask=mask, title="")
    outlined = {a.get_label() for a in figure.axes if a.collections and a.images}
    assert outlined == {
        f"{row}, {view}"
        for row in ("input", "anomaly map")
        for view in ("sagittal", "coronal", "axial")
    }
    colours = axes_named(figure, "input, axial").collections[0].get_edgecolor()
    np.testing.assert_allclose(colours[0][:3], to_rgb(CONTOUR))


def test_panels_are_cropped_to_the_brain_but_never_lose_the_lesion():
    image = np.zeros((60, 60, 60), np.float32)
    image[25:35, 25:35, 25:35] = 1
    mask = np.zeros(image.shape, bool)
    mask[28:50, 30, 30] = True
    figure = three_view_panel([Volume("input", image, "image")], spacing_mm=MM, title="", mask=mask)
    rows, columns = axes_named(figure, "input, axial").images[0].get_array().shape
    assert rows == 10 + 2 * 4
    assert columns == 50 - 25 + 2 * 4


def test_the_input_sets_the_grey_window_of_the_pseudo_healthy_image():
    bright = brain() * 3
    volumes = [Volume("input", brain(), "image"), Volume("pseudo-healthy", bright, "image")]
    figure = three_view_panel(volumes, spacing_mm=MM, title="")
    windows = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    np.testing.assert_allclose(windows, [(0, 0.2)] * 6, rtol=1e-6)


def test_nan_and_empty_volumes_are_drawn():
    score = np.full(SHAPE, np.nan, np.float32)
    volumes = [
        Volume("input", np.zeros(SHAPE), "image"),
        Volume("anomaly map", score, "score"),
        Volume("mask", np.zeros(SHAPE, bool), "labels"),
    ]
    pixels(three_view_panel(volumes, spacing_mm=MM, title="$ not maths", mask=None))


def test_a_panel_of_unequal_shapes_or_of_nothing_is_refused():
    unequal = [Volume("a", np.zeros((4, 4, 4)), "image"), Volume("b", np.zeros((4, 4, 5)), "image")]
    for volumes in (unequal, []):
        with pytest.raises(ValueError, match="one shape"):
            three_view_panel(volumes, spacing_mm=MM, title="")


def test_the_view_goes_through_the_largest_lesion():
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 2:4, 2:4] = True
    mask[10:15, 20:25, 8:13] = True
    assert view_point(mask, None, mask) == (12, 22, 10)


def test_the_view_lies_inside_a_ring_shaped_lesion():
    x, y = np.mgrid[:24, :32]
    ring = np.abs(np.hypot(x - 12, y - 16) - 8) < 1
    mask = np.zeros(SHAPE, bool)
    mask[:, :, 10] = ring
    assert not mask[12, 16, 10]
    assert mask[view_point(mask, None, mask)]


def test_without_a_lesion_the_view_goes_through_the_highest_score_then_the_brain():
    score = np.zeros(SHAPE)
    inside = brain() > 0
    empty = np.zeros(SHAPE, bool)
    assert view_point(None, score, inside) == (12, 16, 10)
    score[4, 5, 6], score[7, 7, 7] = 1, np.nan
    assert view_point(empty, score, inside) == (4, 5, 6)
    assert view_point(None, None, empty) == (12, 16, 10)


def test_equal_figures_give_equal_bytes_and_others_do_not(tmp_path):
    def written(name: str, level: float) -> bytes:
        volumes = [
            Volume("input", brain() * level, "image", 1.0),
            Volume("anomaly map", brain() * level, "score"),
        ]
        path = tmp_path / name / "panel.png"
        save_png(three_view_panel(volumes, spacing_mm=MM, title="case 1"), path)
        assert [p.name for p in path.parent.iterdir()] == ["panel.png"]
        return path.read_bytes()

    first = written("a", 1)
    assert first == written("b", 1)
    assert first != written("c", 2)


def test_a_panel_at_full_size_is_900_pixels_wide_and_below_250_kb_with_true_colours(tmp_path):
    # Smooth structure of about 3 mm plus noise, as in a T2 image, on the standard grid.
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in (160, 224, 160)], indexing="ij")
    inside = sum((g / 0.88) ** 2 for g in grid) < 1
    image = 0.4 + 0.2 * sum(np.sin(g * n / 3) for g, n in zip(grid, (160, 224, 160), strict=True))
    image = (image + rng.normal(0, 0.03, image.shape)) * inside
    image = np.clip(image, 0, 1).astype(np.float32)
    volumes = [
        Volume("input", image, "image", 1.0),
        Volume("pseudo-healthy", np.where(inside, 0.4 + 0.3 * grid[2], 0), "image", 1.0),
        Volume("anomaly map", np.abs(image - 0.4) * inside, "score"),
        Volume("lesion mask", grid[0] > 0.7, "labels"),
    ]
    path = tmp_path / "panel.png"
    figure = three_view_panel(volumes, spacing_mm=MM, title="case", mask=grid[0] > 0.7)
    save_png(figure, path)
    saved = Image.open(path)
    assert saved.width == 900
    assert path.stat().st_size < 250_000
    difference = np.abs(np.asarray(saved.convert("RGB")) / 255 - pixels(figure))
    assert difference.mean() < 0.005


def test_curves_have_a_panel_each_for_total_parts_and_validation():
    log = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "rec": [2.0, 0.0, 0.5]})
    log["val_rec"] = [np.nan, 0.2, np.nan]
    log["val_ap"] = [np.nan, 0.3, np.nan]
    log["note"] = "text"
    total, parts, losses, watched = training_curves(log).axes
    assert [axes.get_title(loc="left") for axes in (total, parts, losses, watched)] == [
        "total",
        "parts",
        "validation: losses",
        "validation: what is watched",
    ]
    assert total.get_yscale() == "log"
    assert parts.get_yscale() == "linear", "a zero cannot be drawn on a logarithmic axis"
    assert [len(axes.lines) for axes in (total, parts, losses, watched)] == [2, 2, 1, 1]
    np.testing.assert_array_equal(losses.lines[0].get_xydata(), [[2, 0.2]])
    np.testing.assert_array_equal(watched.lines[0].get_xydata(), [[2, 0.3]])
    assert losses.get_yscale() == "log"


def test_absent_columns_have_no_panel_and_an_empty_log_says_so():
    assert len(training_curves(pd.DataFrame({"step": [1], "loss": [1.0]})).axes) == 1
    (text,) = training_curves(pd.DataFrame({"step": [], "loss": []})).texts
    assert "No training steps" in text.get_text()


@pytest.mark.parametrize("order", [1, -1])
def test_the_area_under_the_drawn_steps_is_average_precision(order):
    from sklearn.metrics import average_precision_score, precision_recall_curve

    rng = np.random.default_rng(1)
    truth = rng.random(200) < 0.3
    score = truth * 0.4 + rng.random(200)
    precision, recall, _ = precision_recall_curve(truth, score)
    figure = precision_recall_figure(
        {"DAL": [(recall[::order], precision[::order])], "_$x$": [([0, 1], [1, 0])]}, "T1"
    )
    line = figure.axes[0].lines[0]
    assert line.get_drawstyle() == "steps-pre"
    x, y = line.get_xdata(), line.get_ydata()
    assert np.all(np.diff(x) >= 0)
    area = np.sum(np.diff(x) * y[1:])  # "steps-pre": each value holds back to the previous x
    assert area == pytest.approx(average_precision_score(truth, score))
    pixels(figure)
