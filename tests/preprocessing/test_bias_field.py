"""N4 against a multiplicative field that is known: what is left of it inside the brain."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.case import Grid
from dal_auto.preprocessing.bias_field import correct_bias_field

SETTINGS = {"estimate_spacing_mm": 8.0, "iterations": (30, 30, 20), "threads": 1}


@pytest.fixture(scope="module")
def grid() -> Grid:
    # Anisotropic, and no two axes of one length: an axis taken for another would show.
    affine = np.diag([-4.0, 4, 6, 1])
    affine[:3, 3] = (78, -94, -75)
    return Grid((40, 48, 26), affine)


@pytest.fixture(scope="module")
def brain(grid, world, phantom) -> np.ndarray:
    noise = np.random.default_rng(0).normal(1, 0.02, grid.shape)
    return (phantom(world(grid)) * noise).astype(np.float32)


@pytest.fixture(scope="module")
def field(grid, world) -> np.ndarray:
    points = world(grid)
    return np.exp(0.3 * points[..., 0] / 70 - 0.25 * (points[..., 1] / 90) ** 2)


def unevenness(corrected, true, mask):
    """Coefficient of variation of what still multiplies the true image."""
    left = corrected[mask] / true[mask]
    return left.std() / left.mean()


def test_a_known_field_shrinks(grid, brain, field):
    mask = brain > 50
    corrected = correct_bias_field(brain * field, mask, grid, **SETTINGS)
    assert corrected.dtype == np.float32
    before, after = (unevenness(image, brain, mask) for image in (brain * field, corrected))
    assert before > 0.12
    assert after < before / 3


def test_an_even_image_stays_as_it_is(grid, brain):
    mask = brain > 50
    corrected = correct_bias_field(brain, mask, grid, **SETTINGS)
    assert unevenness(corrected, brain, mask) < 0.03
    assert corrected[mask].mean() == pytest.approx(brain[mask].mean(), rel=0.02)


def test_the_unit_of_the_intensities_does_not_matter(grid, brain, field):
    mask = brain > 50
    first = correct_bias_field(brain * field, mask, grid, **SETTINGS)
    large = correct_bias_field(brain * field * 1000, mask, grid, **SETTINGS)
    np.testing.assert_allclose(large[mask], first[mask] * 1000, rtol=0.02)


def test_outside_the_mask_the_field_is_divided_out_and_zero_stays_zero(grid, brain, field):
    corrected = correct_bias_field(brain * field, brain > 50, grid, **SETTINGS)
    assert np.isfinite(corrected).all()
    np.testing.assert_array_equal(corrected[brain == 0], 0)


def test_what_lies_outside_the_mask_takes_no_part(grid, brain, field):
    mask = brain > 50
    with_skull = brain * field
    with_skull[~mask] = 5000
    first = correct_bias_field(brain * field, mask, grid, **SETTINGS)
    second = correct_bias_field(with_skull, mask, grid, **SETTINGS)
    np.testing.assert_allclose(second[mask], first[mask], rtol=1e-3)


def test_negative_and_zero_voxels_inside_the_mask_do_no_harm(grid, brain, field):
    mask = brain > 50
    image = brain * field
    holes = mask & (np.random.default_rng(1).random(grid.shape) < 0.02)
    image[holes] = -3
    corrected = correct_bias_field(image, mask, grid, **SETTINGS)
    assert (corrected[holes] < 0).all()
    assert unevenness(corrected, brain, mask & ~holes) < 0.05
