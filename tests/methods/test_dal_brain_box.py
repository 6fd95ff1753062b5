"""A training step computes the box around its brains, with the losses of the whole grid."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.methods.dal.brain_box import brain_box
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch

GRID = (40, 56, 40)


def brains(*boxes: tuple[slice, slice, slice]) -> torch.Tensor:
    masks = torch.zeros(len(boxes), 1, *GRID)
    for mask, box in zip(masks, boxes, strict=True):
        mask[(0, *box)] = 1
    return masks


spans = st.tuples(st.integers(0, 39), st.integers(1, 40)).map(
    lambda span: slice(min(span[0], span[1] - 1), max(span[0] + 1, span[1]))
)


@given(st.lists(st.tuples(spans, spans, spans), min_size=1, max_size=3), st.sampled_from([1, 4, 8]))
def test_the_box_holds_every_brain_and_a_voxel_around(parts, multiple):
    masks = brains(*parts)
    box = brain_box(masks, multiple=multiple, least=16)
    around = torch.nn.functional.max_pool3d(masks, 3, 1, 1)
    assert around[(..., *box)].sum() == around.sum()
    for part, size in zip(box, GRID, strict=True):
        assert part.start % multiple == 0
        assert part.stop % multiple == 0 or part.stop == size
        assert part.stop - part.start >= 16


def test_no_brain_is_the_whole_grid():
    assert brain_box(torch.zeros(1, 1, *GRID), multiple=4, least=8) == tuple(
        map(slice, [0] * 3, GRID)
    )


@pytest.fixture
def in_a_wide_grid(phantom_batch) -> Batch:
    """Two brains of unequal places, with a wide margin, a clean image and known tissues."""
    batch = phantom_batch(0, 1)
    shape = batch.images.shape[2:]
    mask = batch.brain_mask.double()
    mask[:, :, : shape[0] // 3] = 0
    mask[:, :, :, -shape[1] // 3 :] = 0
    images = batch.images.double() * mask
    tissue = torch.where(mask[:, 0] > 0, (images[:, 0] > 0.4).long() + 1, -1)
    return dataclasses.replace(
        batch, images=images, brain_mask=mask, clean=images * 0.9, tissue=tissue
    )


@pytest.mark.parametrize("teacher_forcing", [1.0, 0.0])
def test_losses_and_gradients_are_those_of_the_whole_grid(
    plain_plans, narrow, in_a_wide_grid, monkeypatch, teacher_forcing
):
    """Of Eq. 10 the mean runs over another number of voxels; it is left out."""
    plans = plain_plans(
        edge_noise=0.0,
        combinations="all",
        teacher_forcing=teacher_forcing,
        loss_terms=["con_A", "sim_A", "con_M", "sim_M"],
        **narrow,
    )
    shape = in_a_wide_grid.images.shape[2:]
    box = brain_box(in_a_wide_grid.brain_mask, multiple=DAL(plans).settings.coarsest, least=1)
    assert sum(part.stop - part.start for part in box) < sum(shape), "there is something to leave"
    found = []
    monkeypatch.setattr("dal_auto.methods.dal.objective.LEAST_BFLOAT16_VOXELS", 1)
    for whole in (False, True):
        torch.manual_seed(0)
        method = DAL(plans)
        method.network.double()
        method.learn_atlas(torch.rand(3, *shape))
        if whole:
            monkeypatch.setattr(
                "dal_auto.methods.dal.objective.brain_box",
                lambda mask, **_: tuple(slice(0, n) for n in mask.shape[2:]),
            )
        losses = method.training_step(in_a_wide_grid, 0)
        losses["loss"].backward()
        gradients = {n: p.grad for n, p in method.network.named_parameters() if p.grad is not None}
        found.append((losses, gradients))
    for boxed, complete in zip(*found, strict=True):
        assert boxed.keys() == complete.keys()
        for name, value in boxed.items():
            torch.testing.assert_close(value, complete[name], msg=name)
