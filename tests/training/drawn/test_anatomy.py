"""Deformed anatomies: shares of structures, from one seed."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.training.drawn import anatomy
from dal_auto.training.drawn.anatomy import draw_anatomy
from dal_auto.training.drawn.heads import Head
from dal_auto.training.drawn.structures import index_of


def volumes(head: Head, seeds: range) -> np.ndarray:
    """(seed, structure) mm³."""
    drawn = (draw_anatomy(head, (16, 16, 16), (seed,)) for seed in seeds)
    return np.stack([one.sum((1, 2, 3)) / 255 * 8 for one in drawn])


def test_a_seed_is_an_anatomy(heads: list[Head]) -> None:
    first, again, other = (draw_anatomy(heads[0], (16, 16, 16), (seed,)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.02
    assert first.dtype == np.uint8
    assert first.sum(0, dtype=int).max() <= 257, "shares add up to at most a voxel, up to rounding"


def test_without_deformation_the_head_comes_back(
    heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "_ROTATION_DEGREES": 0,
        "_SHIFT_MM": 0,
        "_LOG_SIZE": (0, 1e-9),
        "_LOG_ASPECT_SD": 0,
        "_SHEAR_SD": 0,
        "_ELASTIC_MM": (),
        "_VENTRICLES_MM": (0, 0),
        "_SULCI_MM": (0, 0),
        "_AGE_SPREAD_MM": (0, 0),
        "_REGION_SPREAD_MM": (0, 0),
        "_MASK_MM": (0, 1e-9),
        "_MASK_REGION_SD": 0,
    }.items():
        monkeypatch.setattr(anatomy, name, value)
    head = heads[0]
    found = [draw_anatomy(head, (32, 32, 32), (seed,)).argmax(0) for seed in range(8)]
    inside = head.to_surface < -5
    sides = {
        tuple(
            (one[inside_one] == structures[inside_one]).mean() > 0.999
            for structures, inside_one in (
                (head.structures, inside),
                (head.structures[::-1], inside[::-1]),
            )
        )
        for one in found
    }
    assert sides == {(True, False), (False, True)}, "as it was, or mirrored"


def test_people_differ_in_size_and_age(heads: list[Head]) -> None:
    found = volumes(heads[1], range(30))
    brain, ventricles = found.sum(1), found[:, index_of("ventricles")]
    assert brain.max() > 1.5 * brain.min()
    assert ventricles.max() > 5 * ventricles.min()
    assert found[:, index_of("cortex")].min() > 0
