"""The guided filter, against the loops of its paper and against what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dal_auto.scoring.box_filters import mean_filter
from dal_auto.scoring.guided_filter import guided_filter

WHOLE = torch.ones(9, 10, 11, dtype=torch.bool)


def by_loops(score, image, mask, radius, epsilon):
    """The paper's equations 5, 6 and 8, box by box; boxes are cut at the border of the volume."""
    where = np.argwhere(mask)
    lines = {}
    for centre in map(tuple, np.argwhere(np.ones_like(mask))):
        box = tuple(slice(max(0, c - radius), c + radius + 1) for c in centre)
        inside = mask[box]
        if inside.any():
            guide, values = image[box][inside], score[box][inside]
            covariance = np.mean(guide * values) - guide.mean() * values.mean()
            slope = covariance / (guide.var() + epsilon)
            lines[centre] = slope, values.mean() - slope * guide.mean()
    result = np.zeros(mask.shape)
    for voxel in map(tuple, where):
        near = [
            line
            for centre, line in lines.items()
            if mask[centre] and max(abs(np.subtract(centre, voxel))) <= radius
        ]
        slope, offset = np.mean(near, axis=0)
        result[voxel] = max(slope * image[voxel] + offset, 0)
    return result


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16), epsilon=st.sampled_from([1e-3, 1e-2, 1.0]))
def test_it_is_the_papers(seed, epsilon):
    """The mask keeps clear of the border, where the filters here mirror the volume."""
    random = np.random.default_rng(seed)
    score, image = random.random((2, 11, 10, 9))
    mask = np.zeros(image.shape, bool)
    mask[3:8, 3:7, 3:6] = random.random((5, 4, 3)) < 0.8
    result = guided_filter(
        torch.from_numpy(score), torch.from_numpy(image), torch.from_numpy(mask), (3, 3, 3), epsilon
    )
    np.testing.assert_allclose(result, by_loops(score, image, mask, 1, epsilon), atol=2e-5)


def test_a_score_that_is_the_same_everywhere_stays_as_it_is():
    score = torch.full(WHOLE.shape, 0.3)
    result = guided_filter(score, torch.rand(WHOLE.shape), WHOLE, (5, 5, 5), 0.001)
    torch.testing.assert_close(result, score)


def test_where_the_image_is_even_the_score_is_smoothed_twice():
    score = torch.rand(WHOLE.shape)
    result = guided_filter(score, torch.full(WHOLE.shape, 0.5), WHOLE, (3, 3, 3), 0.001)
    expected = mean_filter(mean_filter(score, (3, 3, 3)), (3, 3, 3))
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("contrast", [0.4, -0.4])
def test_a_blurred_score_takes_the_border_of_the_lesion_bright_or_dark(contrast):
    lesion = np.zeros((31, 31, 31))
    lesion[10:21, 10:21, 10:21] = 1
    image = torch.from_numpy(0.5 + contrast * lesion)
    blurred = torch.from_numpy(ndimage.gaussian_filter(lesion, 4))
    sharp = guided_filter(blurred, image, torch.ones_like(image, dtype=torch.bool), (9, 9, 9), 1e-3)
    before, after = (float(v[10, 15, 15] - v[9, 15, 15]) for v in (blurred, sharp))
    assert after > 3 * before


def test_what_lies_outside_the_brain_has_no_influence_and_no_score():
    mask = torch.zeros(WHOLE.shape, dtype=torch.bool)
    mask[2:7, 2:8, 2:9] = True
    score, image = torch.rand(2, *WHOLE.shape)
    other_score, other_image = (torch.where(mask, v, 1e3) for v in (score, image))
    one = guided_filter(score, image, mask, (5, 5, 5), 0.001)
    other = guided_filter(other_score, other_image, mask, (5, 5, 5), 0.001)
    assert torch.equal(one, other)
    assert not one[~mask].any()
