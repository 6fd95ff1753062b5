"""Brain masks: from a tool that finds the brain in a head, or from images already stripped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import MissingDependency
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.skull_strip.tools import TOOLS
from dal_auto.volumes import largest_component

#: Of a stripped image: a separate piece of this size is brain, and no speck.
_LEAST_PIECE_ML = 5.0


def planned_tools(plan: PreprocessingPlan) -> tuple[dict[str, str], list[str]]:
    """The tools that may run, in order, with their versions; and those that are passed over.

    Returns
    -------
    tool → version, the plans' own first, then the fallbacks that are installed
    the fallbacks that are not

    Raises
    ------
    MissingDependency
        if the plans' own tool, or its weights, are absent: no other takes its place unasked.
    """
    found: dict[str, str] = {plan.skull_strip: TOOLS[plan.skull_strip].version()}
    absent: list[str] = []
    for tool in plan.skull_strip_fallbacks:
        if tool not in found:
            try:
                found[tool] = TOOLS[tool].version()
            except MissingDependency:
                absent.append(tool)
    return found, absent


def estimate_brain_mask(image: FloatArray, grid: Grid, tool: str) -> BoolArray:
    """The brain in a head, one connected piece without holes; empty where `tool` finds none.

    Parameters
    ----------
    image : (x, y, z) with skull, T1 where there is one
    tool : a name in `TOOLS`
    """
    return largest_component(TOOLS[tool].find(image, grid))


def foreground_mask(images: Sequence[FloatArray], grid: Grid) -> BoolArray:
    """The brain of stripped images that share a grid: non-zero in any of them.

    Not ``x > 0``: resampled and published images hold negatives inside the brain. An empty slice
    cuts a brain in two, and both are kept; specks are not.

    Parameters
    ----------
    images : (x, y, z) each, on `grid`
    """
    filled = np.any([image != 0 for image in images], axis=0)
    return largest_component(filled, _LEAST_PIECE_ML / grid.voxel_ml)
