"""SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from dal_auto.networks.ssim import ssim_2d


def test_half_precision_around_it_changes_nothing():
    """Variances are differences of squares: in bfloat16 smooth slices had SSIM from −37 to 14."""
    torch.manual_seed(0)
    smooth = 0.5 + 0.2 * torch.sin(torch.linspace(0, 6, 48))[:, None].expand(1, 1, 48, 40)
    other = (smooth + 0.01 * torch.randn(1, 1, 48, 40)).requires_grad_()
    expected = ssim_2d(smooth, other, 1.0)
    (wanted,) = torch.autograd.grad(expected.mean(), other)
    with torch.autocast("cpu", torch.bfloat16):
        found = ssim_2d(smooth, other, 1.0)
        rounded = ssim_2d(smooth.bfloat16(), other.bfloat16(), 1.0)
    (gradient,) = torch.autograd.grad(found.mean(), other)
    assert torch.equal(found, expected) and torch.equal(gradient, wanted)
    assert rounded.dtype == torch.float32 and rounded.min() > 0 and rounded.max() <= 1


@pytest.mark.parametrize("value_range", [1.0, 2.0])
def test_ssim_agrees_with_scikit_image(value_range):
    torch.manual_seed(0)
    first, second = value_range * torch.rand(2, 1, 1, 24, 20, dtype=torch.float64)
    _, expected = structural_similarity(
        first[0, 0].numpy(), second[0, 0].numpy(),
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=value_range,
        full=True,
    )  # fmt: skip
    found = ssim_2d(first, second, value_range)[0, 0].numpy()
    np.testing.assert_allclose(found, expected[5:-5, 5:-5], atol=1e-6)
    assert float(ssim_2d(first, first, value_range).min()) == pytest.approx(1)
