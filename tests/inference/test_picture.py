"""The picture of a map: what is where in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dal_auto.inference.picture import _font, draw_map

SHAPE = (40, 60, 50)
BLUE = (0x56, 0xB4, 0xE9)


@pytest.fixture
def brain() -> np.ndarray:
    """A dim ball with a bright patch on the patient's left (x grows to the left), in front, low."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    image = 0.3 * (sum(a**2 for a in axes) < 0.9)
    image[28:34, 14:20, 14:20] = 1.0
    return image.astype(np.float32)


def draw(path: Path, image: np.ndarray, score: np.ndarray, mask: np.ndarray, healthy=None):
    draw_map(path, "a T1", image=image, pseudo_healthy=healthy, score=score, mask=mask)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def blue(pixels: np.ndarray) -> np.ndarray:
    return (pixels == BLUE).all(axis=-1)


def test_the_views_pass_through_the_largest_component_and_sides_are_right(brain, tmp_path):
    mask = brain == 1.0
    mask[5, 30, 30] = True  # a smaller one
    pixels = draw(tmp_path / "p.png", brain, brain * mask, mask)
    white = (pixels >= 250).all(axis=-1)[: 52 + 120]  # the row of the input
    # Two pixels a voxel; the patch's centre is (31, 17, 17), the box the whole grid.
    for left, width, expected in (
        (24, 120, (24 + 2 * 17, 62 + 2 * (50 - 17))),  # sagittal: y to the right, z upwards
        (150, 80, (150 + 2 * 31, 62 + 2 * (50 - 17))),  # coronal: x to the right, z upwards
        (236, 80, (236 + 2 * 31, 52 + 2 * 17)),  # axial: x to the right, y downwards
    ):
        rows, columns = np.nonzero(white[:, left : left + width])
        assert rows.size >= 50
        found = (left + columns.mean() + 0.5, rows.mean() + 0.5)
        assert found == pytest.approx(expected, abs=1)


def test_the_mask_is_outlined_over_input_and_map_but_not_over_the_restoration(brain, tmp_path):
    mask = brain == 1.0
    with_mask = draw(tmp_path / "p.png", brain, brain * mask, mask, brain)
    third = with_mask.shape[0] // 3
    counts = [int(blue(with_mask[n * third : (n + 1) * third]).sum()) for n in range(3)]
    assert counts[0] > 50 and counts[1] == 0 and counts[2] == counts[0]
    without = draw(tmp_path / "q.png", brain, brain * mask, mask & False, brain)
    assert not blue(without).any()


def test_scores_are_in_colour_and_images_grey(brain, tmp_path):
    pixels = draw(tmp_path / "p.png", brain, brain, brain < 0)
    coloured = np.ptp(pixels, axis=-1) > 20
    half = 52 + (pixels.shape[0] - 52) // 2
    assert not coloured[:half].any() and coloured[half:].sum() > 1000


@pytest.mark.parametrize("empty", ["score", "everything"])
def test_nothing_to_show_is_no_error(brain, tmp_path, empty):
    nothing = np.zeros(SHAPE, np.float32)
    image = brain if empty == "score" else nothing
    assert draw(tmp_path / "p.png", image, nothing, nothing > 0, nothing).any()


def test_equal_maps_give_equal_bytes_and_a_mean_size(brain, tmp_path):
    random = np.random.default_rng(0)
    score = random.random(SHAPE).astype(np.float32)
    for name in ("a", "b"):
        draw(tmp_path / f"{name}.png", brain, score, score > 0.99)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size < 100_000


@pytest.mark.parametrize("letter", "äöéñłŞж")
def test_every_letter_of_a_name_is_drawn_as_itself(letter):
    """A font draws one and the same box for all letters that it has not."""
    font = _font()
    missing = font.getmask("\U0010fffe")
    drawn = font.getmask(letter)
    assert (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
