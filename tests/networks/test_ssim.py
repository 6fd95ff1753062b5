"""SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from dal_auto.networks.ssim import ssim_2d


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
