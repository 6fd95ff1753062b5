"""Random fields and blurs, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.training.drawn.fields import blurred, smooth_fields, uniform

SHAPE = (20, 24, 16)


def test_fields_have_unit_spread_and_are_smooth() -> None:
    generator = torch.Generator().manual_seed(0)
    field = smooth_fields((200, 2), SHAPE, (4.0, 4.0, 4.0), 16.0, generator)
    assert field.shape == (200, 2, *SHAPE)
    assert field.std((0, 1)).sub(1).abs().max() < 0.25
    assert float(field.std()) == pytest.approx(1, abs=0.03)
    neighbours = (field[..., 1:, :, :] * field[..., :-1, :, :]).mean()
    far = (field[..., 12:, :, :] * field[..., :-12, :, :]).mean()
    assert neighbours > 0.85
    assert abs(far) < 0.1


def test_a_lattice_below_a_voxel_is_taken_as_one() -> None:
    one, other = (
        smooth_fields((1,), SHAPE, (4.0,) * 3, mm, torch.Generator().manual_seed(1))
        for mm in (0.5, 4.0)
    )
    assert torch.equal(one, other)


def test_the_blur_is_gaussian_of_its_own_sigma_along_each_axis() -> None:
    image = torch.zeros(2, 1, 21, 21, 21)
    image[:, :, 10, 10, 10] = 1
    sigma = torch.tensor([[[1.5, 1.0, 2.0]], [[2.0, 1.2, 1.0]]])
    found = blurred(image, sigma)
    for one, own in zip(found[:, 0], sigma[:, 0], strict=True):
        expected = ndimage.gaussian_filter(image[0, 0].numpy(), own.numpy(), truncate=8)
        np.testing.assert_allclose(one.numpy(), expected, atol=0.1 * expected.max())
        assert float(one.sum()) == pytest.approx(1, abs=1e-3)


def test_without_sigma_nothing_is_blurred() -> None:
    image = torch.rand(3, 2, *SHAPE)
    found = blurred(image, torch.zeros(3, 2, 3))
    torch.testing.assert_close(found, image, atol=1e-5, rtol=0)


def test_uniform_keeps_its_bounds() -> None:
    drawn = uniform((1000,), 2.0, 3.0, torch.Generator().manual_seed(0))
    assert 2 <= float(drawn.min()) < 2.05
    assert 2.95 < float(drawn.max()) <= 3
