"""Superpixels beside scikit-image's, and in slices whose superpixels are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import slic

from dal_auto.networks.superpixels import superpixel_image


def smooth_slices(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Random slices in [0, 1] with structures of some pixels."""
    random = np.random.default_rng(0)
    fields = ndimage.gaussian_filter(random.normal(size=(count, *size)), (0, 3, 3))
    fields -= fields.min()
    return torch.from_numpy(fields / fields.max()).float()[:, None]


def test_flat_regions_are_found_to_the_pixel_wherever_their_borders_lie():
    slices = torch.full((1, 1, 24, 32), 0.2)
    slices[:, :, 7:, 10:] = 0.9  # cells of 8 have their borders at 8 and 16
    found = superpixel_image(slices, torch.ones_like(slices), (8, 8), 0.1, 5)
    torch.testing.assert_close(found, slices)


def test_a_superpixel_has_the_mean_of_its_pixels_and_background_stays():
    slices = smooth_slices(2, (40, 48))
    brain = torch.zeros_like(slices)
    brain[:, :, 4:36, 6:40] = 1
    found = superpixel_image(slices, brain, (8, 8), 0.1, 5)
    assert torch.equal(found[brain == 0], slices[brain == 0])
    for one, x, inside in zip(found, slices, brain > 0, strict=True):
        values, label = one[inside].unique(return_inverse=True)
        sums = torch.zeros(len(values)).index_add_(0, label, x[inside])
        torch.testing.assert_close(sums / label.bincount(), values)
        assert 15 < len(values) < 40, "32 × 34 pixels in superpixels of 8 × 8"


def test_superpixels_follow_structures_as_well_as_scikit_images_do():
    slices = smooth_slices(1, (64, 80))
    image = slices[0, 0].numpy()
    labels = slic(image, n_segments=80, compactness=0.1, channel_axis=None, start_label=0)
    theirs = np.asarray(ndimage.mean(image, labels, np.arange(labels.max() + 1)))[labels]
    ours = superpixel_image(slices, torch.ones_like(slices), (8, 8), 0.1, 5)[0, 0].numpy()
    blocks = image.reshape(8, 8, 10, 8).mean(axis=(1, 3)).repeat(8, 0).repeat(8, 1)
    errors = [np.square(image - found).mean() for found in (ours, theirs, blocks)]
    assert errors[0] < 1.1 * errors[1], "scikit-image's"
    assert errors[0] < 0.5 * errors[2], "squares that follow nothing"
