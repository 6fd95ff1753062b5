"""The mosaic of a case: the right slices the right way round, and outlines where masks end."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dal_auto.figures.mosaic import GAP, MARGIN, Outline, mosaic

SHAPE = (40, 50, 30)
BOX = (24, 32, 16)  # of the brain below
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)
MIDDLE = (20, 25, 15)


@pytest.fixture
def brain() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[8:32, 9:41, 7:23] = True
    return mask


def picture(image: np.ndarray, brain: np.ndarray, outlines=(), point=MIDDLE) -> np.ndarray:
    """(row, column, 3) of one row, without its label."""
    # The brain's own outline is drawn in black, where black is: only the crop follows it.
    frame = Outline(np.zeros(SHAPE, bool) | brain, (0, 0, 0))
    found = mosaic({"T1": image}, brain, [frame, *outlines], [("", "T1", point)])
    return np.asarray(found).astype(int)


def panels(found: np.ndarray) -> dict[str, np.ndarray]:
    """The three pictures of a row; heights are those of the tallest."""
    x, y, _ = (size + 2 * MARGIN for size in BOX)
    starts = np.cumsum([0, y + GAP, x + GAP])
    return {
        name: found[:, start : start + width]
        for name, start, width in zip(
            ("sagittal", "coronal", "axial"), starts, (y, x, x), strict=True
        )
    }


def centre(panel: np.ndarray) -> tuple[float, float]:
    """Where a dark spot in a white brain lies: fractions of the brain from left and top."""
    white = panel.min(axis=2) > 230
    rows, columns = np.nonzero(white)
    inside = ~white[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    if len(inside) == BOX[1] - 2:  # the tallest picture reaches down to the label of its side
        inside[-10:, :8] = False
    rows, columns = np.nonzero(inside)
    return columns.mean() / inside.shape[1], rows.mean() / inside.shape[0]


@pytest.mark.parametrize(
    ("axis", "plane", "direction"),
    [
        # Low x is the patient's right, low y the front, low z the feet.
        (0, "coronal", "left"),
        (0, "axial", "left"),
        (1, "sagittal", "left"),
        (1, "axial", "top"),
        (2, "sagittal", "bottom"),
        (2, "coronal", "bottom"),
    ],
)
def test_low_indices_lie_where_radiologists_expect_them(brain, axis, plane, direction):
    image = brain.astype(np.float32)
    index = [slice(p - 2, p + 3) for p in MIDDLE]
    index[axis] = slice(10, 13)
    image[tuple(index)] = 0
    across, down = centre(panels(picture(image, brain))[plane])
    place = {"left": across < 0.35, "top": down < 0.35, "bottom": down > 0.65}
    assert place[direction]
    assert (down if direction == "left" else across) == pytest.approx(0.5, abs=0.1)


def test_slices_pass_through_the_point(brain):
    image = np.where(brain, np.float32(0.5), 0)
    image[24:] = 1
    image[12, 30, 10] = 100

    def spots(point: tuple[int, int, int]) -> list[int]:
        outline = Outline(image == 100, BLUE)
        found = panels(picture(image, brain, [outline], point))
        return [int((panel == BLUE).all(axis=2).sum()) for panel in found.values()]

    assert spots((12, 30, 10)) == [1, 1, 1]
    assert spots((12, 31, 11)) == [1, 0, 0]
    assert spots((13, 31, 11)) == [0, 0, 0]


def test_an_outline_is_the_edge_of_its_mask_and_later_ones_lie_on_top(brain):
    lesion = np.zeros(SHAPE, bool)
    lesion[15:25, 20:30, 10:20] = True
    image = np.where(brain, 1.0, 0).astype(np.float32)
    found = picture(image, brain, [Outline(brain, ORANGE), Outline(lesion, BLUE)])
    counts = {colour: int((found == colour).all(axis=2).sum()) for colour in (ORANGE, BLUE)}
    assert counts[BLUE] == 3 * (4 * 10 - 4)
    around = sum(2 * (a + b) - 4 for a, b in ((32, 16), (24, 16), (24, 32)))
    assert 0.97 * around < counts[ORANGE] <= around  # the labels of sides cover some
    covered = picture(image, brain, [Outline(lesion, ORANGE), Outline(lesion, BLUE)])
    assert not (covered == ORANGE).all(axis=2).any()


def test_a_dashed_outline_lets_half_of_the_one_below_be_seen(brain):
    image = np.where(brain, 1.0, 0).astype(np.float32)
    found = picture(image, brain, [Outline(brain, ORANGE), Outline(brain, BLUE, dashed=True)])
    below, above = ((found == colour).all(axis=2).sum() for colour in (ORANGE, BLUE))
    assert 0.35 < above / (above + below) < 0.65


def test_rows_are_cut_to_all_masks_and_stand_below_each_other(brain):
    image = brain.astype(np.float32)
    leak = np.zeros(SHAPE, bool)
    leak[2, 25, 15] = True
    rows = [("T1", "T1", MIDDLE), ("T2", "T2", MIDDLE)]
    images = {"T1": image, "T2": image}
    narrow = mosaic(images, brain, [Outline(brain, ORANGE)], rows)
    assert narrow.height == 2 * (BOX[1] + 2 * MARGIN + GAP)
    assert narrow.width == BOX[1] + 2 * BOX[0] + 6 * MARGIN + 3 * GAP
    wide = mosaic(images, brain, [Outline(brain, ORANGE), Outline(leak, BLUE)], rows)
    assert wide.width > narrow.width


def test_what_is_not_a_number_is_black_and_an_empty_case_is_a_picture(brain):
    image = np.where(brain, 1.0, 0).astype(np.float32)
    image[MIDDLE] = np.nan
    assert picture(image, brain).max() == 255
    empty = np.zeros(SHAPE, bool)
    found = mosaic({"T1": image * 0}, empty, [Outline(empty, ORANGE)], [("T1", "T1", MIDDLE)])
    assert isinstance(found, Image.Image)
    assert found.height == SHAPE[1] + GAP
