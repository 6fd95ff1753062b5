"""The nouns: what a grid knows of itself, and what survives JSON."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.spatial.transform import Rotation

from dal_auto.case import Geometry, Grid, StandardCase

spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)


def oblique(spacing_mm, degrees, offset=(0, 0, 0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = offset
    return affine


@settings(deadline=None)
@given(spacings, angles)
def test_spacing_and_voxel_volume_do_not_depend_on_orientation(spacing_mm, degrees):
    grid = Grid((4, 5, 6), oblique(spacing_mm, degrees))
    np.testing.assert_allclose(grid.spacing_mm, spacing_mm)
    assert grid.voxel_ml == pytest.approx(np.prod(spacing_mm) / 1000)


@pytest.mark.parametrize(
    "codes",
    [
        "".join(axes)
        for order in itertools.permutations(["RL", "AP", "SI"])
        for axes in itertools.product(*order)
    ],
)
def test_axcodes_say_where_each_axis_goes(codes):
    sides = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1)}  # RAS: the positive directions
    sides |= {"L": (-1, 0, 0), "P": (0, -1, 0), "I": (0, 0, -1)}
    affine = np.eye(4)
    affine[:3, :3] = np.stack([sides[letter] for letter in codes], axis=1)
    assert Grid((4, 5, 6), affine).axcodes == codes


def test_grids_are_equal_up_to_a_tolerance_and_not_beyond():
    affine = oblique((1, 1, 3), (3, 4, 5), (10, -20, 30))
    grid = Grid((4, 5, 6), affine)
    nudged = affine.copy()
    nudged[0, 3] += 5e-4
    assert grid.equals(Grid((4, 5, 6), nudged))
    assert not grid.equals(Grid((4, 5, 6), nudged), tolerance_mm=1e-4)
    assert not grid.equals(Grid((4, 5, 7), affine))
    shifted = affine.copy()
    shifted[2, 3] += 1
    assert not grid.equals(Grid((4, 5, 6), shifted))


@settings(deadline=None)
@given(spacings, angles, angles)
def test_grid_and_geometry_survive_json_to_the_last_bit(spacing_mm, degrees, offset):
    grid = Grid((4, 5, 6), oblique(spacing_mm, degrees, offset))
    geometry = Geometry({"T1": grid}, {"T1": oblique((1, 1, 1), offset, degrees)})
    kept = TypeAdapter(Geometry)
    again = kept.validate_json(kept.dump_json(geometry))
    assert again.native["T1"].shape == (4, 5, 6)
    np.testing.assert_array_equal(again.native["T1"].affine, grid.affine)
    np.testing.assert_array_equal(again.atlas_to_native["T1"], geometry.atlas_to_native["T1"])


def test_an_image_is_found_by_its_sequence():
    images = np.stack([np.zeros((2, 2, 2)), np.ones((2, 2, 2))])
    case = StandardCase(
        dataset="D",
        case_id="a",
        patient_id="a",
        sequences=("T2", "T1"),
        images=images,
        brain_mask=np.ones((2, 2, 2), bool),
        lesion_mask=None,
        geometry=Geometry({}, {}),
        scale={},
        percentiles={},
        quality={},
        steps=(),
    )
    np.testing.assert_array_equal(case.image("T1"), 1)
    np.testing.assert_array_equal(case.image("T2"), 0)
