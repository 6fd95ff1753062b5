"""Eq. 5–11 against sums written out by hand: two subjects and two sequences, then one and three.

Vectors on a circle have cosines that can be read off: (1, 0), (0.6, 0.8), (0, 1).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dal_auto.methods.dal import losses

EAST, NORTH_EAST, NORTH = [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]
# [subject][sequence]; cosines within subject p: 0.6, within q: 0.8; sequence 1 across: 1, 2: 0.8.
FOUR = torch.tensor([[EAST, NORTH_EAST], [EAST, [0.8, 0.6]]])


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def everyone(tensors: torch.Tensor) -> torch.Tensor:
    """Nobody lacks a sequence."""
    return torch.ones(tensors.shape[:2])


def eq5(anatomy: torch.Tensor) -> torch.Tensor:
    return losses.anatomy_consistency(losses.cosines(anatomy), everyone(anatomy))


def eq6(vectors: torch.Tensor) -> torch.Tensor:
    return losses.modality_consistency(losses.cosines(vectors), everyone(vectors))


def eq7(anatomy: torch.Tensor, margin: float) -> torch.Tensor:
    return losses.anatomy_similarity(losses.cosines(anatomy), everyone(anatomy), margin)


def eq8(vectors: torch.Tensor, margin: float) -> torch.Tensor:
    return losses.modality_similarity(losses.cosines(vectors), everyone(vectors), margin)


def eq9(restored: torch.Tensor, images: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    share = losses.shares(everyone(images))
    return losses.image_error(restored, images, brain, share)


def eq10(restored: torch.Tensor, encoded: torch.Tensor, *, normalised: bool) -> torch.Tensor:
    present = torch.ones(len(restored))
    return losses.code_consistency(restored, encoded, present, normalised=normalised)


def cos(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a.ravel(), b.ravel()) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_cosines_of_the_example_are_the_ones_stated():
    (p1, p2), (q1, q2) = FOUR.numpy()
    assert [cos(p1, p2), cos(q1, q2), cos(p1, q1)] == pytest.approx([0.6, 0.8, 1.0])
    assert cos(p2, q2) == pytest.approx(0.6 * 0.8 + 0.8 * 0.6)


def test_eq5_anatomy_consistency_by_hand():
    by_hand = ((0.6 - 1) ** 2 + (0.8 - 1) ** 2) / 2  # one pair of sequences; mean over subjects
    assert float(eq5(FOUR)) == pytest.approx(by_hand)


def test_eq6_modality_consistency_by_hand():
    by_hand = (1.0 - 1) ** 2 + (0.96 - 1) ** 2  # sum over sequences; one pair of subjects
    assert float(eq6(FOUR)) == pytest.approx(by_hand, rel=1e-4)


def test_eq7_anatomy_similarity_by_hand():
    # (p, i = 1), (p, 2), (q, 1), (q, 2): across subjects − within the subject + 0.2, where positive
    terms = [1.0 - 0.6 + 0.2, 0.96 - 0.6 + 0.2, 1.0 - 0.8 + 0.2, 0.96 - 0.8 + 0.2]
    assert float(eq7(FOUR, 0.2)) == pytest.approx(sum(terms) / 2)


def test_eq8_modality_similarity_by_hand():
    # within the subject − across subjects + 0.5; two ordered pairs of subjects
    terms = [0.6 - 1.0 + 0.5, 0.6 - 0.96 + 0.5, 0.8 - 1.0 + 0.5, 0.8 - 0.96 + 0.5]
    assert float(eq8(FOUR, 0.5)) == pytest.approx(sum(terms) / 2)


def test_a_margin_that_is_met_costs_nothing_and_does_not_pay_for_others():
    assert float(eq8(FOUR, 0.15)) == 0
    # With margin 0.3 the first of the four is met by 0.1 and must not lower the sum.
    terms = [0.0, 0.0, 0.8 - 1.0 + 0.3, 0.8 - 0.96 + 0.3]
    terms[1] = max(0.0, 0.6 - 0.96 + 0.3)
    assert float(eq8(FOUR, 0.3)) == pytest.approx(sum(terms) / 2)


@pytest.mark.parametrize("sequences", [1, 2, 3])
@pytest.mark.parametrize("subjects", [2, 3])
def test_for_any_number_of_sequences_the_sums_are_the_papers(subjects, sequences):
    a = noise(subjects, sequences, 2, 3, 3, 3)
    n, S, P = a.double().numpy(), range(sequences), range(subjects)
    others = [(p, q) for p in P for q in P if p != q]
    by_hand_5 = np.mean(
        [sum((cos(n[p, i], n[p, j]) - 1) ** 2 for j in S for i in range(j)) for p in P]
    )
    by_hand_6 = np.mean([sum((cos(n[p, i], n[q, i]) - 1) ** 2 for i in S) for p, q in others])
    by_hand_7 = np.mean(
        [
            sum(
                max(0, cos(n[p, i], n[q, i]) - cos(n[p, i], n[p, j]) + 0.2)
                for i in S
                for j in S
                if i != j
            )
            for p, q in others
        ]
    )
    by_hand_8 = np.mean(
        [
            sum(
                max(0, cos(n[p, i], n[p, j]) - cos(n[p, i], n[q, i]) + 0.5)
                for i in S
                for j in S
                if i != j
            )
            for p, q in others
        ]
    )
    found = [
        eq5(a),
        eq6(a.flatten(2)),
        eq7(a, 0.2),
        eq8(a.flatten(2), 0.5),
    ]
    np.testing.assert_allclose(
        [float(f) for f in found], [by_hand_5, by_hand_6, by_hand_7, by_hand_8], rtol=1e-5
    )
    if sequences == 1:
        assert float(found[0]) == float(found[2]) == float(found[3]) == 0


def test_one_sequence_still_lets_the_gradient_through():
    a = noise(2, 1, 8).requires_grad_()
    total = eq5(a) + eq6(a) + eq7(a, 0.2) + eq8(a, 0.5)
    total.backward()
    assert a.grad.isfinite().all()


def test_eq9_and_eq11_compare_with_the_image_whose_modality_was_used():
    images = torch.stack([torch.full((2, 2, 2), 0.2), torch.full((2, 2, 2), 0.7)])[None]
    brain = torch.ones(1, 1, 2, 2, 2)
    restored = torch.empty(1, 2, 2, 2, 2, 2)
    for i in range(2):
        for j in range(2):
            restored[0, i, j] = images[0, j]  # anatomy i, modality j
    assert float(eq9(restored, images, brain)) == 0
    # With the printed target x_i, the two crossed images would be right the other way round.
    swapped = restored.transpose(1, 2)
    assert float(eq9(swapped, images, brain)) == pytest.approx(0.5 + 0.5)


def test_eq9_and_eq11_sum_over_i_and_j_and_average_over_brain_and_subjects():
    restored, images = noise(2, 2, 2, 3, 4, 5), noise(2, 2, 3, 4, 5, seed=1)
    brain = (noise(2, 1, 3, 4, 5, seed=2) > 0.5).float()
    assert brain[0].sum() != brain[1].sum()
    by_hand = 0.0
    for p in range(2):
        inside = brain[p, 0].numpy() > 0
        for i in range(2):
            for j in range(2):
                difference = restored[p, i, j].numpy() - images[p, j].numpy()
                by_hand += np.abs(difference[inside]).mean() / 2
    assert float(eq9(restored, images, brain)) == pytest.approx(by_hand, rel=1e-5)


def test_eq10_plain_is_the_mean_square_and_pulls_at_both_codes():
    restored, encoded = noise(2, 3, 4, 4, 4).requires_grad_(), noise(2, 3, 4, 4, 4, seed=1)
    encoded.requires_grad_()
    loss = eq10(restored, encoded, normalised=False)
    by_hand = np.mean((restored.detach().numpy() - encoded.detach().numpy()) ** 2)
    assert float(loss.detach()) == pytest.approx(float(by_hand), rel=1e-5)
    loss.backward()
    assert restored.grad.abs().sum() > 0
    torch.testing.assert_close(encoded.grad, -restored.grad)


def test_eq10_normalised_is_the_mean_square_of_standardised_channels():
    restored, encoded = noise(2, 3, 4, 4, 4), noise(2, 3, 4, 4, 4, seed=1)

    def standardised(code: torch.Tensor) -> np.ndarray:
        c = code.double().numpy()
        axes = (2, 3, 4)
        return (c - c.mean(axes, keepdims=True)) / np.sqrt(c.var(axes, keepdims=True) + 1e-5)

    by_hand = np.mean((standardised(restored) - standardised(encoded)) ** 2)
    found = eq10(restored, encoded, normalised=True)
    assert float(found) == pytest.approx(by_hand, rel=1e-5)


def test_eq10_normalised_lets_no_gradient_into_the_encoded_code():
    restored, encoded = noise(1, 2, 4, 4, 4).requires_grad_(), noise(1, 2, 4, 4, 4, seed=1)
    encoded.requires_grad_()
    eq10(restored, encoded, normalised=True).backward()
    assert encoded.grad is None
    assert restored.grad.abs().sum() > 0


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_shrinking_the_codes_gains_nothing_when_normalised_and_all_when_plain(scale):
    restored, encoded = noise(2, 3, 4, 4, 4), noise(2, 3, 4, 4, 4, seed=1)
    for normalised, factor in ((True, 1.0), (False, scale**2)):
        before = eq10(restored, encoded, normalised=normalised)
        after = eq10(scale * restored, scale * encoded, normalised=normalised)
        assert float(after) == pytest.approx(factor * float(before), rel=5e-3)


def test_cosines_are_those_of_float64_also_over_many_voxels():
    anatomy = torch.randint(0, 4, (2, 2, 1, 48, 48, 48)).float() / 3
    anatomy[:, 1] = torch.where(noise(*anatomy[:, 1].shape) > 1.3, anatomy[:, 1], anatomy[:, 0])
    found, n = losses.cosines(anatomy), anatomy.double().numpy()
    assert float(found.within[0, 0, 1]) == pytest.approx(cos(n[0, 0], n[0, 1]), abs=1e-6)
    assert float(found.across[0, 1, 1]) == pytest.approx(cos(n[0, 1], n[1, 1]), abs=1e-6)


def test_what_is_empty_has_no_direction_and_a_finite_gradient():
    a = noise(2, 2, 5)
    a[0, 1] = 0
    a.requires_grad_()
    found = losses.cosines(a)
    assert float(found.within[0, 0, 1].detach()) == 0
    (found.within.sum() + found.across.sum()).backward()
    assert a.grad.isfinite().all()


def test_eq13_by_hand():
    names = ("recon", "rest", "con_A", "sim_A", "con_M", "sim_M", "con_AE")
    parts = {name: torch.tensor(float(n)) for n, name in enumerate(names, start=1)}
    weights = {"reconstruction": 1.0, "anatomy": 0.1, "modality": 10.0, "code": 0.01}
    by_hand = 1.0 * (1 + 2) + 0.1 * (3 + 4) + 10 * (5 + 6) + 0.01 * 7
    assert float(losses.total_loss(parts, weights)) == pytest.approx(by_hand)
    del parts["sim_A"], parts["con_AE"]
    by_hand = 1.0 * (1 + 2) + 0.1 * 3 + 10 * (5 + 6)
    assert float(losses.total_loss(parts, weights)) == pytest.approx(by_hand)
