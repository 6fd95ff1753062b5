"""Lesions of one grey value: where they lie, and what they look like."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def homogeneous(parts_of):
    assert parts_of("methods_parts", "page")  # what follows finds its neighbours
    import homogeneous

    return homogeneous


@pytest.mark.parametrize("radius", [6.0, 12.0])
def test_a_region_is_a_rough_ball_inside_the_brain(homogeneous, radius):
    grid = np.indices((64, 64, 64)) - 31.5
    brain = np.sqrt((grid**2).sum(axis=0)) < 28
    volumes = []
    for seed in range(4):
        region = homogeneous.region_of(brain, radius, np.random.default_rng(seed))
        assert region.min() >= 0
        assert region.max() > 0.9
        inside = region > 0.5
        assert inside[brain].sum() >= 0.97 * inside.sum()
        volumes.append(inside.sum())
    ball = 4 / 3 * np.pi * radius**3
    assert 0.4 * ball < np.mean(volumes) < 1.6 * ball
    assert len(set(volumes)) > 1, "each seed has a shape of its own"
