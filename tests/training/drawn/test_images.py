"""Drawn images: matched, in range, with the contrasts of their sequence, seeded."""

from __future__ import annotations

import pytest
import torch

from dal_auto.errors import UsageError
from dal_auto.plans import PreprocessingPlan
from dal_auto.training.drawn.anatomy import draw_anatomy
from dal_auto.training.drawn.corruption import Lesions
from dal_auto.training.drawn.heads import Head
from dal_auto.training.drawn.images import ImageDraw
from dal_auto.training.drawn.matching import Matching
from dal_auto.training.drawn.pool import tissues_of

SEQUENCES = ("T1", "T2", "FLAIR")
PERCENTILES = PreprocessingPlan().percentiles
LANDMARKS = tuple(torch.linspace(0.05, 0.9, len(PERCENTILES)).tolist())
MATCHING = Matching(PERCENTILES, dict.fromkeys(SEQUENCES, LANDMARKS))


@pytest.fixture(scope="module")
def shares(heads: list[Head]) -> torch.Tensor:
    drawn = [torch.from_numpy(draw_anatomy(one, (16, 16, 16), (0,))) for one in heads[:2]]
    return torch.stack(drawn).float() / 255


@pytest.fixture(scope="module")
def brain(shares: torch.Tensor) -> torch.Tensor:
    return shares.sum(1) > 0.5


def draw(seed: int) -> ImageDraw:
    generator = torch.Generator().manual_seed(seed)
    return ImageDraw(2, SEQUENCES, (2.0, 2.0, 2.0), MATCHING, generator)


def test_images_are_in_range_and_zero_outside(shares: torch.Tensor, brain: torch.Tensor) -> None:
    images, clean = draw(0).images(shares, brain, None)
    assert torch.equal(images, clean)
    assert images.shape == (2, 3, 16, 16, 16)
    outside = ~brain[:, None].expand_as(images)
    assert (images[outside] == 0).all()
    assert (images[~outside] > 0).all()
    assert images.max() <= 1
    middle = torch.stack([images[:, i][brain].median() for i in range(3)])
    assert (middle - 0.475).abs().max() < 0.15, "half of the brain lies below the middle landmark"


def test_sequences_order_the_tissues_as_scanners_do(
    shares: torch.Tensor, brain: torch.Tensor
) -> None:
    tissues = tissues_of(shares)
    found = torch.zeros(3, 3)
    for seed in range(8):
        _, clean = draw(seed).images(shares, brain, None)
        for tissue in range(3):
            pure = (tissues[:, tissue] > 0.9)[:, None].expand_as(clean)
            weight = (clean * pure).sum((0, 2, 3, 4)) / pure.sum((0, 2, 3, 4))
            found[:, tissue] += weight / 8
    t1, t2, flair = found
    assert t1[0] < t1[1] < t1[2]
    assert t2[2] < t2[1] < t2[0]
    assert flair[0] < flair[2] < flair[1]


def test_a_seed_draws_the_same_again_and_another_others(
    shares: torch.Tensor, brain: torch.Tensor
) -> None:
    first, again, other = (draw(seed).images(shares, brain, None)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs()[brain[:, None].expand_as(first)].mean() > 0.02


def test_a_lesion_is_in_the_image_and_not_in_the_clean_one(
    shares: torch.Tensor, brain: torch.Tensor
) -> None:
    kept = torch.ones(2, 3, 16, 16, 16)
    kept[:, :, 6:10, 6:10, 6:10] = 0
    lesions = Lesions(kept, (1 - kept) * 1.5)
    images, clean = draw(4).images(shares, brain, lesions)
    inside = (kept < 1) & brain[:, None]
    assert (images - clean)[inside].mean() > 0.2
    assert torch.equal(images[~inside], clean[~inside]), "matched by one curve"


def test_unmatched_images_have_the_tables_contrast(
    shares: torch.Tensor, brain: torch.Tensor
) -> None:
    image = draw(0).unmatched(shares, brain)
    white, fluid = (tissues_of(shares)[:, tissue] > 0.95 for tissue in (2, 0))
    assert image[:, 0][white].mean() == pytest.approx(0.88, abs=0.15)
    assert image[:, 1][fluid].mean() == pytest.approx(0.95, abs=0.2)


def test_an_unknown_sequence_is_refused(shares: torch.Tensor, brain: torch.Tensor) -> None:
    generator = torch.Generator()
    with pytest.raises(UsageError, match="PD cannot be drawn; known: T1, T2, FLAIR"):
        ImageDraw(2, ("PD",), (2.0,) * 3, MATCHING, generator).images(shares, brain, None)
