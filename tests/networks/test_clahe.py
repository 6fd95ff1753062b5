"""Contrast limited equalisation beside scikit-image's, and where its answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from dal_auto.networks.clahe import clipped, equalised


@pytest.mark.parametrize("size", [128, 64])
def test_it_is_scikit_images(size):
    random = np.random.default_rng(0)
    field = ndimage.gaussian_filter(random.normal(size=(size, size)), size / 20)
    field = np.clip(0.5 + field / (4 * field.std()), 0.02, 1)
    y, x = np.mgrid[:size, :size] - size / 2
    image = np.where(np.hypot(y, x) < size * 0.45, field, 0)  # a brain in its background
    found = equalised(torch.from_numpy(image).float()[None, None])[0, 0].numpy()
    difference = np.abs(found - equalize_adapthist(image))
    # Where an intensity lies on the border of two bins, rounding decides.
    assert difference.mean() < 1e-3 and difference.max() < 0.02


def test_slices_are_equalised_each_by_itself_and_flat_ones_stay_finite():
    slices = torch.rand(2, 1, 64, 64)
    both, alone = equalised(slices), equalised(slices[1:])
    torch.testing.assert_close(both[1:], alone)
    assert (equalised(torch.full((1, 1, 64, 64), 0.3)) == 0).all()


def test_what_is_cut_off_a_histogram_is_handed_out_below_the_limit():
    found = clipped(torch.tensor([[10.0, 0, 1, 1], [0, 0, 3, 1]]), 4.0)
    torch.testing.assert_close(found, torch.tensor([[4.0, 2, 3, 3], [0, 0, 3, 1]]))
