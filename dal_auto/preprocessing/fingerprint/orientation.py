"""Where an image of the atlas's box really lies: told by its content, since headers were wrong.

BraTS-SSA and BraTS-MET hold stripped images in the shape of the SRI24 box whose header is neither
the LPS nor the RAS form of it. What the array shows decides: the overlap of its brain with the
atlas's (Dice), and the correlation of the two inside the common brain. The box is not symmetric
about the brain, and a brain not front to back, so that a turn by 180° about z costs 0.2 of Dice.

Left and right cannot be told apart this way: a brain is its own mirror image for this purpose. An
image mirrored left to right looks well placed, here and to any registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas, true_grid
from dal_auto.preprocessing.resampling import resample
from dal_auto.volumes import correlation, dice

Box = Literal["LPS", "RAS"]
_BOXES: tuple[Box, ...] = ("LPS", "RAS")

#: Content is compared at every second voxel of the atlas.
_STEP = 2
_COARSE = Grid(
    tuple(-(-size // _STEP) for size in ATLAS_GRID.shape),  # type: ignore[arg-type]
    ATLAS_GRID.affine @ np.diag([_STEP, _STEP, _STEP, 1.0]),
)
#: Where the brain of an image reaches this Dice as its header says, nothing else is tried.
#: Registered brains reach 0.87 to 0.96; the best that a turned one does is 0.84 (upside down; 0.75
#: about z). Measured on 11 brains, three of them real, as they are and moved by 12° and 8 mm.
_BEYOND_DOUBT_DICE = 0.87
#: What another reading must reach, and by how much it must beat all others, to be believed.
_PLACED_DICE = 0.85
_DICE_MARGIN = 0.05
#: Overlap (Dice) with the atlas's brain from which on a stripped brain in the SRI24 box counts as
#: registered. Registrations reach 0.88 to 0.95, of the largest heads 0.85. BraTS ships cases that
#: lie 17° off, at 0.79: registered again, T1 finds 53 % where it found 7 (docs/chain.md).
REGISTERED_DICE = 0.85
#: What an image must reach on a box that the content of the case's other images asks for.
_NEAR_DICE = 0.7
#: Below this Dice a header puts the brain where the atlas's is not.
_BESIDE_DICE = 0.5
#: Registered T1 reach 0.31 to 0.53, T2 −0.21 to −0.45; a FLAIR about 0, so that it decides nothing.
_LEAST_CORRELATION = 0.15
#: How the array may be stored → what brings its axes to those of the LPS box: (swap x and y, axes
#: to flip after it). Of two readings that are mirror images, left to right, one is enough.
_READINGS: Mapping[str, tuple[bool, tuple[int, ...]]] = {
    "LPS": (False, ()),
    "RAS": (False, (0, 1)),
    "half a turn about y": (False, (0, 2)),
    "half a turn about x": (False, (1, 2)),
    "a quarter turn about z": (True, (0,)),
    "a quarter turn about z, backwards": (True, (1,)),
    "a quarter turn about z, and upside down": (True, (2,)),
    "a quarter turn about z, backwards and upside down": (True, (0, 1, 2)),
}


@dataclass(frozen=True)
class Fit:
    """How well a brain lies on the atlas's: overlap, and correlation with its T1 where both are."""

    dice: float
    correlation: float

    def clearly_beats(self, other: Fit) -> bool:
        return self.dice - other.dice >= _DICE_MARGIN and abs(self.correlation) > abs(
            other.correlation
        )


@dataclass(frozen=True)
class Orientation:
    """How an image of the atlas's box lies in it.

    Parameters
    ----------
    fit : as its header says
    readings : the same for the ways in which the array may be stored, "LPS" and "RAS" among them;
        empty where the header's own is beyond doubt
    header_box : "LPS" or "RAS", if the header is that form of the box
    true_box : decided by content, against the header
    doubt : in words, where content and header disagree and it is not mended
    """

    fit: Fit
    readings: Mapping[str, Fit]
    header_box: Box | None = None
    true_box: Box | None = None
    doubt: str | None = None

    def fit_as(self, true_box: Box | None) -> Fit:
        """The fit of the box in which it truly lies; of its own header without one."""
        return (
            self.fit
            if true_box in (None, self.header_box)
            else self.readings.get(true_box, self.fit)
        )


def is_left_handed(grid: Grid) -> bool:
    """Whether to read it as a form of the atlas's box, which are both right-handed, would swap left
    and right."""
    return bool(np.linalg.det(grid.affine) < 0)


def in_the_atlas_box(grid: Grid) -> bool:
    """Whether a grid has the shape and voxel size of the SRI24 box, wherever it lies."""
    return grid.shape == ATLAS_GRID.shape and np.allclose(grid.spacing_mm, 1, atol=1e-3)


def fit_to_atlas(array: FloatArray, grid: Grid, atlas: Atlas) -> Fit:
    """How a stripped image lies on the atlas, by its grid."""
    image = resample(array, grid, _COARSE, np.eye(4))
    brain = resample((array != 0).astype(np.float32), grid, _COARSE, np.eye(4)) > 0.5
    return _fit(image, brain, atlas)


def orient(array: FloatArray, grid: Grid, atlas: Atlas) -> Orientation:
    """Compare a stripped image of the atlas's box with the atlas, as its header says and otherwise.

    The header is overruled only where its reading is clearly wrong and "LPS" or "RAS" clearly
    right, and only if its entries are whole numbers, as a tool writes them for a box: the fractions
    of a scanner's own coordinates are believed, and such an image is to be registered.
    """
    header_box = next((box for box in _BOXES if grid.equals(true_grid(grid, box), 1e-2)), None)
    if header_box is not None:
        own = _read_as(array, header_box, atlas)
    else:
        own = fit_to_atlas(array, grid, atlas)
    if own.dice >= _BEYOND_DOUBT_DICE or not np.allclose(
        grid.affine, np.round(grid.affine), 0, 0.01
    ):
        return Orientation(own, {}, header_box)
    readings = {name: _read_as(array, name, atlas) for name in _READINGS}
    best = max(readings, key=lambda name: readings[name].dice)
    fit, others = readings[best], [fit for name, fit in readings.items() if name != best]
    placed = fit.dice >= _PLACED_DICE and abs(fit.correlation) >= _LEAST_CORRELATION
    true_box, doubt = None, None
    if placed and all(fit.clearly_beats(other) for other in (own, *others)):
        true_box = next((box for box in _BOXES if box == best), None)
        if true_box is None:
            doubt = f"against the atlas its content is off by {best}; nothing was turned"
        elif is_left_handed(grid):
            true_box = None
            doubt = (
                f"its header ({grid.axcodes}) puts it beside the atlas, and the box that its "
                "content fits has left and right the other way round; nothing was turned"
            )
    elif own.dice < _BESIDE_DICE:
        doubt = (
            f"its header puts it beside the atlas (overlap {own.dice:.2f}), and its content does "
            "not tell clearly how it is stored"
        )
    return Orientation(own, readings, header_box, true_box, doubt)


def true_header_of(found: Mapping[str, Orientation | None]) -> tuple[Box | None, str | None]:
    """The true header of a case, if the content of one of its images overrules the header.

    It is taken for all images of the case, so each must be decided alike, or lie on that box by its
    own header, or at least fit there (a FLAIR or a poor T2 that alone decides nothing).

    Parameters
    ----------
    found : sequence → its orientation; None for an image that is not in the box, or not stripped

    Returns
    -------
    the box, and why there is none although an image asks for it
    """
    boxes = {o.true_box for o in found.values() if o is not None and o.true_box is not None}
    if not boxes:
        return None, None
    box = min(boxes)
    for name, orientation in found.items():
        if orientation is None or len(boxes) > 1:
            return None, f"the content of its images overrules their headers, but not of {name}"
        if box not in (orientation.header_box, orientation.true_box):
            fit = orientation.readings.get(box)
            if fit is None or fit.dice < _NEAR_DICE:
                return None, f"{name} does not lie on the box that the other images ask for"
    return box, None


def _read_as(array: FloatArray, reading: str, atlas: Atlas) -> Fit:
    """How the array lies on the atlas if it is stored in this way."""
    swap, flips = _READINGS[reading]
    view = np.flip(array.transpose(1, 0, 2) if swap else array, flips)[::_STEP, ::_STEP, ::_STEP]
    return _fit(view, view != 0, atlas)


def _fit(image: FloatArray, brain: BoolArray, atlas: Atlas) -> Fit:
    """Both arrays on the coarse grid."""
    template = atlas.image[::_STEP, ::_STEP, ::_STEP]
    common = brain & (template > 0)
    return Fit(dice(brain, template > 0), correlation(image[common], template[common]))
