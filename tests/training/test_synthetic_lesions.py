"""Pasted lesions: in the brain, soft at the edge, of both signs, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.training.synthetic_lesions import paste_lesions

SHAPE, SPACING = (40, 48, 40), (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    brain = sum(a**2 for a in axes) < 0.8
    return np.stack([0.5 * brain, 0.4 * brain]).astype(np.float32), brain


def test_the_seed_alone_decides(head):
    images, brain = head
    before = images.copy()
    one, other = (paste_lesions(images, brain, SPACING, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(images, before)
    assert not np.array_equal(one[1], paste_lesions(images, brain, SPACING, seed=5)[1])


@pytest.mark.parametrize("seed", range(12))
def test_lesions_lie_in_the_brain_and_change_every_sequence(head, seed):
    images, brain = head
    changed, lesion = paste_lesions(images, brain, SPACING, seed)
    assert changed.dtype == np.float32 and lesion.dtype == bool
    assert lesion.any() and not lesion[~brain].any()
    assert 1 <= ndimage.label(lesion, np.ones((3, 3, 3)))[1] <= 6  # rough ones may fall apart
    assert lesion.sum() / brain.sum() < 0.4
    difference = changed - images
    assert not difference[:, ~brain].any()
    assert (changed[:, brain] > 0).all() and changed.max() <= 1
    # Most of what changed is marked, and what is marked has changed.
    assert (np.abs(difference[:, lesion]) > 0.05).mean() > 0.9
    edge = (np.abs(difference) > 0.02).any(axis=0) & ~lesion
    assert edge.any() and edge.sum() < 0.6 * lesion.sum() + 60, "the edge is soft, and narrow"


def test_lesions_are_brighter_and_darker_in_each_sequence(head):
    images, brain = head
    signs = []
    for seed in range(30):
        changed, lesion = paste_lesions(images, brain, SPACING, seed)
        signs.append(np.sign((changed - images)[:, lesion].mean(axis=1)))
    signs = np.array(signs)
    for sequence in signs.T:
        assert {-1.0, 1.0} <= set(sequence)
    assert (signs[:, 0] != signs[:, 1]).any() and (signs[:, 0] == signs[:, 1]).any()


def test_their_size_is_in_mm(head):
    images, brain = head

    def volume_ml(spacing_mm: float) -> float:
        voxel_ml = spacing_mm**3 / 1000
        masks = [
            paste_lesions(images, brain, (spacing_mm,) * 3, seed)[1].sum() for seed in range(20)
        ]
        return float(np.mean(masks)) * voxel_ml

    assert volume_ml(4.0) == pytest.approx(volume_ml(6.0), rel=0.35)
