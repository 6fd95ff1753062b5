"""Labels, structures and tissues."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.datasets.simulation import compartments
from dal_auto.training.drawn.structures import (
    CSF,
    GREY,
    OUTSIDE,
    STRUCTURES,
    TISSUE_OF,
    WHITE,
    structures_of,
)


@pytest.mark.parametrize(
    ("label", "name", "tissue"),
    [
        (2, "white matter", WHITE),
        (42, "cortex", GREY),
        (43, "ventricles", CSF),
        (24, "sulci", CSF),
        (49, "thalamus", GREY),
        (16, "brainstem", WHITE),
        (57, "white matter", WHITE),  # marked as lesion: no hole of fluid in a healthy head
        (253, "white matter", WHITE),
        (136, "ventricles", CSF),
        (1035, "cortex", GREY),
        (12175, "cortex", GREY),
        (4035, "white matter", WHITE),
    ],
)
def test_freesurfers_numbers_are_known_on_both_sides(label: int, name: str, tissue: int) -> None:
    found = int(structures_of(np.array([[[label]]], np.int16))[0, 0, 0])
    assert STRUCTURES[found] == name
    assert TISSUE_OF[found] == tissue


def test_what_is_no_brain_is_outside() -> None:
    labels = np.array([[[0, 500, 530, 999, 14000, 20000, -5]]], np.int16)
    assert (structures_of(labels) == OUTSIDE).all()


def test_both_simulators_take_the_same_labels_for_fluid_and_white_matter() -> None:
    wanted = {CSF: compartments.LABELS_CSF, WHITE: compartments.LABELS_WM}
    for tissue, labels in wanted.items():
        found = structures_of(np.array([[list(labels)]], np.int16))[0, 0]
        assert {TISSUE_OF[one] for one in found} == {tissue}
