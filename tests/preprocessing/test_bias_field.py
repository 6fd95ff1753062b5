"""N4 against a multiplicative field that is known: what is left of it inside the brain."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

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


def test_the_field_is_the_one_that_n4_gives_at_full_resolution(grid, brain, field):
    image, mask = (brain * field).astype(np.float32), brain > 50
    itk, itk_mask = (sitk.GetImageFromArray(a.T) for a in (image, mask.astype(np.uint8)))
    for one in (itk, itk_mask):
        one.SetSpacing(grid.spacing_mm)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(SETTINGS["iterations"])
    n4.SetNumberOfThreads(1)
    shrink = [2, 2, 1]  # 8 mm of 4, 4 and 6 mm
    n4.Execute(sitk.Shrink(itk, shrink), sitk.Shrink(itk_mask, shrink))
    whole = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(itk)).T)
    expected = image / (whole / whole[mask].mean())
    corrected = correct_bias_field(image, mask, grid, **SETTINGS)
    np.testing.assert_allclose(corrected[mask], expected[mask], rtol=0.02)
    assert np.abs(corrected[mask] / expected[mask] - 1).mean() < 0.004


def test_far_from_the_mask_the_image_stays_as_it_is_and_zero_stays_zero(grid, brain, field):
    image, mask = (brain * field).astype(np.float32), brain > 50
    mask[:15] = False
    corrected = correct_bias_field(image, mask, grid, **SETTINGS)
    assert np.isfinite(corrected).all()
    np.testing.assert_array_equal(corrected[brain == 0], 0)
    np.testing.assert_array_equal(corrected[:12], image[:12])
    # The voxels beside the mask, from which its surface is interpolated, are corrected, too.
    beside = (np.abs(corrected[13:15] - image[13:15]) > 1) & (image[13:15] > 50)
    assert beside.any(axis=(1, 2)).all()


def test_three_slices_are_enough_and_an_empty_mask_is_refused(grid, brain):
    thin = Grid((40, 48, 3), grid.affine)
    image = brain[:, :, 12:15]
    corrected = correct_bias_field(image, image > 50, thin, **SETTINGS)
    assert unevenness(corrected, image, image > 50) < 0.05
    with pytest.raises(ValueError, match="empty"):
        correct_bias_field(image, image > 1e9, thin, **SETTINGS)


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
