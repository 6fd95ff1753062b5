"""Pasted lesions: where they are, how many, how large."""

from __future__ import annotations

import pytest
import torch

from dal_auto.training.drawn.corruption import Lesions, draw_lesions

SHAPE, SPACING = (40, 48, 40), (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def brain() -> torch.Tensor:
    brain = torch.zeros(64, *SHAPE, dtype=torch.bool)
    brain[:, 6:-6, 6:-6, 6:-6] = True
    return brain


@pytest.fixture(scope="module")
def lesions(brain: torch.Tensor) -> Lesions:
    drawn = draw_lesions(brain, 2, SPACING, 1.0, torch.Generator().manual_seed(0))
    assert drawn is not None
    return drawn


def test_lesions_stay_in_the_brain_and_have_soft_edges(
    brain: torch.Tensor, lesions: Lesions
) -> None:
    outside = ~brain[:, None].expand_as(lesions.kept)
    assert (lesions.kept[outside] == 1).all()
    assert (lesions.added[outside] == 0).all()
    changed = lesions.kept < 1
    assert changed.flatten(1).any(1).all(), "every subject has one"
    assert ((lesions.kept > 0.02) & (lesions.kept < 0.98)).float().sum() > 0.1 * changed.sum()


def test_volumes_reach_from_small_to_large_and_intensities_differ_between_sequences(
    lesions: Lesions,
) -> None:
    ml = (lesions.kept[:, 0] < 0.9).flatten(1).sum(1).float() * 0.064
    assert ml.min() < 5
    assert ml.max() > 60
    values = lesions.added / (1 - lesions.kept).clamp(min=1e-6)
    inside = (lesions.kept < 0.7).all(1)
    apart = (values[:, 0] - values[:, 1]).abs()[inside]
    assert apart.mean() > 0.15


def test_pasting_mixes_with_what_is_there() -> None:
    kept = torch.tensor([0.25]).reshape(1, 1, 1, 1, 1)
    lesions = Lesions(kept, torch.full_like(kept, 0.6))
    assert float(lesions.paste(torch.full_like(kept, 0.4))) == pytest.approx(0.7)


def test_the_share_is_that_of_the_subjects(brain: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = draw_lesions(brain, 1, SPACING, 0.5, generator)
    assert drawn is not None
    hit = (drawn.kept < 1).flatten(1).any(1).float().mean()
    assert 0.3 < hit < 0.7
    assert draw_lesions(brain, 1, SPACING, 0.0, generator) is None
