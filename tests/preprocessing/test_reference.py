"""Which image of a case stands for all."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.preprocessing.reference import reference_of


def field(*millimetres: float) -> Grid:
    x, y, z = (round(mm / 2) for mm in millimetres)
    return Grid((x, y, z), np.diag([2.0, 2, 2, 1]))


WHOLE, SLAB = field(180, 220, 160), field(180, 220, 60)


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("T2", "T1"), "T1"),
        (("FLAIR", "T2", "T1"), "T1"),
        (("PD", "T2"), "T2"),
        (("FLAIR", "PD"), "FLAIR"),
        (("T2",), "T2"),
    ],
)
@pytest.mark.parametrize("grid", [WHOLE, SLAB], ids=["whole", "slab"])
def test_t1_stands_for_all_else_t2_else_the_first(names, reference, grid):
    assert reference_of(dict.fromkeys(names, grid)) == reference


def test_a_slab_does_not_stand_for_what_shows_more():
    assert reference_of({"T1": SLAB, "FLAIR": WHOLE}) == "FLAIR"
    assert reference_of({"FLAIR": WHOLE, "T1": SLAB, "T2": WHOLE}) == "T2"
    assert reference_of({"T1": field(60, 220, 160), "T2": WHOLE}) == "T2"  # sagittal
