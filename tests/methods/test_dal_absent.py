"""Subjects that lack a sequence train the terms that they can, and what they lack has no part.

The references are loops over what is there; nothing in them knows of masks or shares.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dal_auto.methods.dal import losses
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch
from dal_auto.networks.anatomy import differentiable_one_hot, halve, merge_channels

MIDDLE = (slice(2, 10),) * 3  # of the phantom: double precision is slow
PATTERNS = {
    "all there": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "one lacks one": [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
    "no two the same": [[1, 1, 0], [0, 1, 1], [1, 0, 1]],
    "no pair within": [[1, 0, 0], [1, 0, 0], [0, 1, 0]],
    "no pair across": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cos(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_each_loss_is_the_mean_over_who_has_what_it_compares(pattern):
    present = torch.tensor(pattern, dtype=torch.float32)
    P, S = (range(n) for n in present.shape)
    x, restored = noise(3, 3, 4, 5, 6), noise(3, 3, 3, 4, 5, 6, seed=1)
    brain = (noise(3, 1, 4, 5, 6, seed=2) > 0).float()

    def there(*images: tuple[int, int]) -> bool:
        return all(present[p, i] > 0 for p, i in images)

    pairs = [(p, q) for p in P for q in P if p != q]
    by_hand = {"5": 0.0, "6": 0.0, "7": 0.0, "8": 0.0, "9": 0.0}
    for i, j in itertools.combinations(S, 2):
        terms = [(cos(x[p, i], x[p, j]) - 1) ** 2 for p in P if there((p, i), (p, j))]
        by_hand["5"] += mean(terms)
    for i in S:
        terms = [(cos(x[p, i], x[q, i]) - 1) ** 2 for p, q in pairs if there((p, i), (q, i))]
        by_hand["6"] += mean(terms)
    for i, j in itertools.permutations(S, 2):
        who = [(p, q) for p, q in pairs if there((p, i), (q, i), (p, j))]
        gaps = [cos(x[p, i], x[q, i]) - cos(x[p, i], x[p, j]) for p, q in who]
        by_hand["7"] += mean([max(0, gap + 0.2) for gap in gaps])
        by_hand["8"] += mean([max(0, 0.5 - gap) for gap in gaps])
    for i, j in itertools.product(S, S):
        who = [p for p in P if there((p, i), (p, j))]
        errors = [(restored[p, i, j] - x[p, j]).abs()[brain[p, 0] > 0].mean() for p in who]
        by_hand["9"] += mean([float(error) for error in errors])
    code, other = noise(9, 2, 3, 3, 3), noise(9, 2, 3, 3, 3, seed=1)
    squares = [F.mse_loss(code[n], other[n]) for n in range(9) if present.flatten()[n] > 0]
    by_hand["10"] = mean([float(square) for square in squares])

    similar = losses.cosines(x)
    found = {
        "5": losses.anatomy_consistency(similar, present),
        "6": losses.modality_consistency(similar, present),
        "7": losses.anatomy_similarity(similar, present, 0.2),
        "8": losses.modality_similarity(similar, present, 0.5),
        "9": losses.image_error(restored, x, brain, losses.shares(present)),
        "10": losses.code_consistency(code, other, present.flatten(), normalised=False),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(by_hand, rel=1e-5)


def three_sequences(phantom_batch):
    """Three subjects; the third sequence is the first, inverted."""
    batch = phantom_batch(0, 1, 2)
    third = (1 - batch.images[:, :1]) * batch.brain_mask
    images = torch.cat([batch.images, third], dim=1)
    return replace(batch, images=images, present=torch.ones(3, 3, dtype=torch.bool))


@pytest.fixture
def make_method(plain_plans):
    def make(**settings) -> DAL:
        torch.manual_seed(0)
        plans = plain_plans(**{"warm_start_steps": 0} | settings)
        return DAL(plans.override({"sequences": ["T1", "T2", "FLAIR"]}, "test"))

    return make


def step_of(method: DAL, batch, step: int = 0):
    """Losses and gradients."""
    method.network.zero_grad()
    found = method.training_step(batch, step)
    found["loss"].backward()
    gradients = {
        n: p.grad.clone() for n, p in method.network.named_parameters() if p.grad is not None
    }
    return {name: value.detach() for name, value in found.items()}, gradients


@pytest.mark.parametrize("garbage", [0.7, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("step", [0, 9], ids=["warm start", "full"])
def test_what_is_absent_changes_no_loss_no_gradient_and_no_figure(
    make_method, phantom_batch, step, garbage
):
    batch = three_sequences(phantom_batch)
    batch.present[0, 0] = batch.present[1, 2] = False
    method = make_method(warm_start_steps=5)
    spoilt = replace(batch, images=batch.images.clone())
    spoilt.images[0, 0] = spoilt.images[1, 2] = garbage
    expected, gradients = step_of(method, batch, step)
    found, spoilt_gradients = step_of(method, spoilt, step)
    assert gradients
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for name, gradient in gradients.items():
        assert torch.equal(spoilt_gradients[name], gradient), name
    figures, spoilt_figures = method.watch(batch), method.watch(spoilt)
    assert all(torch.equal(spoilt_figures[name], value) for name, value in figures.items())


def loss_by_loops(method: DAL, batch) -> torch.Tensor:
    """The whole training step image by image, over what is there, in the paper's sums."""
    net, s = method.network, method.settings
    there = [(p, i) for p, i in itertools.product(range(3), range(3)) if batch.present[p, i]]
    hot, anatomy, vector, encoded, restored = {}, {}, {}, {}, {}
    for p, i in there:
        x, mask = batch.images[p, i][None, None], batch.brain_mask[p][None]
        hot[p, i] = differentiable_one_hot(net.E_A(x)) * mask
        anatomy[p, i] = merge_channels(hot[p, i], mask)
        vector[p, i] = net.E_M(halve(x))
        encoded[p, i] = net.R_A(anatomy[p, i])
        restored[p, i] = net.R_E(net.edges(anatomy[p, i]))
    compared = hot if s.similarity_of == "onehot" else anatomy

    def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0)

    def average(terms: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(terms).mean() if terms else torch.zeros(())

    def image_loss(codes) -> torch.Tensor:
        total = torch.zeros(())
        for i, j in itertools.product(range(3), range(3)):
            terms = []
            for p in range(3):
                if (p, i) in codes and (p, j) in codes:
                    inside = batch.brain_mask[p, 0] > 0
                    image = net.R_D(codes[p, i], vector[p, j])[0, 0]
                    terms.append((image - batch.images[p, j]).abs()[inside].mean())
            total = total + average(terms)
        return total

    apart = list(itertools.permutations(range(3), 2))
    con_a, sim_a, con_m, sim_m = (torch.zeros(()) for _ in range(4))
    for i, j in apart:
        within = [(p, i, j) for p in range(3) if (p, i) in hot and (p, j) in hot]
        pairs = [(p, q) for p, q in apart if (p, i, j) in within and (q, i) in hot]
        if i < j:
            con_a = con_a + average(
                [(cosine(compared[p, i], compared[p, j]) - 1) ** 2 for p, _, _ in within]
            )
        sim_a, sim_m = (
            total
            + average(
                [
                    F.relu(sign * (cosine(x[p, i], x[q, i]) - cosine(x[p, i], x[p, j])) + m)
                    for p, q in pairs
                ]
            )
            for total, x, sign, m in (
                (sim_a, compared, 1, s.margin_anatomy),
                (sim_m, vector, -1, s.margin_modality),
            )
        )
    for i in range(3):
        pairs = [(p, q) for p, q in apart if (p, i) in hot and (q, i) in hot]
        con_m = con_m + average([(cosine(vector[p, i], vector[q, i]) - 1) ** 2 for p, q in pairs])
    codes = []
    for key in there:
        first, second = restored[key], encoded[key]
        if s.code_consistency == "normalised":
            first, second = F.instance_norm(first), F.instance_norm(second.detach())
        codes.append(F.mse_loss(first, second))
    return (
        s.weight_reconstruction * (image_loss(encoded) + image_loss(restored))
        + s.weight_anatomy * (con_a + sim_a)
        + s.weight_modality * (con_m + sim_m)
        + s.weight_code * average(codes)
    )


@pytest.mark.parametrize("preset", ["robust", "paper"])
@pytest.mark.parametrize("pattern", [PATTERNS["all there"], PATTERNS["no two the same"]])
def test_the_batched_step_is_the_papers_sums_over_single_images(
    make_method, phantom_batch, narrow, preset, pattern
):
    """In double precision, where only a wrong sum differs."""
    batch = three_sequences(phantom_batch)
    images, mask = (t[(..., *MIDDLE)].double() for t in (batch.images, batch.brain_mask))
    batch = Batch(images, mask, torch.tensor(pattern) > 0)
    method = make_method(preset=preset, **narrow)
    method.network.double()
    found, gradients = step_of(method, batch)
    method.network.zero_grad()
    expected = loss_by_loops(method, batch)
    expected.backward()
    assert float(found["loss"]) == pytest.approx(float(expected.detach()), rel=1e-6)
    for name, parameter in method.network.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-8)
