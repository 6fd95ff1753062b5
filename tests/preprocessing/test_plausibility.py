"""What is unlike the atlas's tissue: a lesion put into the atlas itself, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.preprocessing.plausibility import unlike_atlas
from dal_auto.preprocessing.quality.measures import atlas_on_grid

SHAPE = (160, 224, 160)


def found_in(brain, template, *images):
    named = dict(zip(("T1", "T2"), images, strict=False))
    return unlike_atlas(named, dict.fromkeys(named, brain), template)


@pytest.fixture(scope="module")
def template(atlas):
    return atlas_on_grid(atlas, SHAPE)


@pytest.fixture(scope="module")
def t2(template):
    """The atlas with the contrast of a T2: fluid bright, white matter dark."""
    image = np.where(template.brain, 1.2 * template.image.max() - template.image, 0)
    return ndimage.gaussian_filter(image, 1) * template.brain


@pytest.fixture(scope="module")
def tumour(template):
    """A ball of 56 ml beside the middle of the brain."""
    index = np.ogrid[tuple(slice(n) for n in SHAPE)]
    ball = sum((i - c) ** 2 for i, c in zip(index, (105, 115, 90), strict=True)) < 24**2
    return ball & template.brain


def test_the_atlas_is_like_itself_in_any_contrast(template, t2):
    for image in (template.image, t2):
        assert found_in(template.brain, template, image).sum() < 0.1 * template.brain.sum()


def test_a_tumour_is_left_out_whatever_the_sequence_and_the_scale(template, t2, tumour):
    ill = np.where(tumour, np.percentile(t2[template.brain], 97), t2)
    dark = np.where(tumour, 0.6 * template.image, template.image)
    for image in (ill, ill * 1000, dark):
        unlike = found_in(template.brain, template, image)
        assert unlike[tumour].mean() > 0.8
        assert unlike[template.brain & ~tumour].mean() < 0.12
        assert not unlike[~template.brain].any()


def test_what_one_sequence_shows_counts_for_all(template, t2, tumour):
    ill = np.where(tumour, np.percentile(t2[template.brain], 97), t2)
    both = found_in(template.brain, template, template.image, ill)
    assert both[tumour].mean() > 0.8


def test_where_hardly_any_brain_is_nothing_is_left_out(template):
    brain = np.zeros(SHAPE, bool)
    brain[70:80, 100:110, 70:80] = True
    assert not found_in(brain, template, template.image).any()
