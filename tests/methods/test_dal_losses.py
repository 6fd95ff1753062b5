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


def cos(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a.ravel(), b.ravel()) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_cosines_of_the_example_are_the_ones_stated():
    (p1, p2), (q1, q2) = FOUR.numpy()
    assert [cos(p1, p2), cos(q1, q2), cos(p1, q1)] == pytest.approx([0.6, 0.8, 1.0])
    assert cos(p2, q2) == pytest.approx(0.6 * 0.8 + 0.8 * 0.6)


def test_eq5_anatomy_consistency_by_hand():
    by_hand = ((0.6 - 1) ** 2 + (0.8 - 1) ** 2) / 2  # one pair of sequences; mean over subjects
    assert float(losses.anatomy_consistency(FOUR)) == pytest.approx(by_hand)


def test_eq6_modality_consistency_by_hand():
    by_hand = (1.0 - 1) ** 2 + (0.96 - 1) ** 2  # sum over sequences; one pair of subjects
    assert float(losses.modality_consistency(FOUR)) == pytest.approx(by_hand, rel=1e-4)


def test_eq7_anatomy_similarity_by_hand():
    # (p, i = 1), (p, 2), (q, 1), (q, 2): across subjects − within the subject + 0.2, where positive
    terms = [1.0 - 0.6 + 0.2, 0.96 - 0.6 + 0.2, 1.0 - 0.8 + 0.2, 0.96 - 0.8 + 0.2]
    assert float(losses.anatomy_similarity(FOUR, 0.2)) == pytest.approx(sum(terms) / 2)


def test_eq8_modality_similarity_by_hand():
    # within the subject − across subjects + 0.5; two ordered pairs of subjects
    terms = [0.6 - 1.0 + 0.5, 0.6 - 0.96 + 0.5, 0.8 - 1.0 + 0.5, 0.8 - 0.96 + 0.5]
    assert float(losses.modality_similarity(FOUR, 0.5)) == pytest.approx(sum(terms) / 2)


def test_a_margin_that_is_met_costs_nothing_and_does_not_pay_for_others():
    assert float(losses.modality_similarity(FOUR, 0.15)) == 0
    # With margin 0.3 the first of the four is met by 0.1 and must not lower the sum.
    terms = [0.0, 0.0, 0.8 - 1.0 + 0.3, 0.8 - 0.96 + 0.3]
    terms[1] = max(0.0, 0.6 - 0.96 + 0.3)
    assert float(losses.modality_similarity(FOUR, 0.3)) == pytest.approx(sum(terms) / 2)


@pytest.mark.parametrize("sequences", [1, 2, 3])
@pytest.mark.parametrize("subjects", [2, 3])
def test_for_any_number_of_sequences_the_sums_are_the_papers(subjects, sequences):
    a = noise(subjects, sequences, 2, 3, 3, 3)
    n, S, P = a.double().numpy(), range(sequences), range(subjects)
    others = [(p, q) for p in P for q in P if p != q]
    eq5 = np.mean([sum((cos(n[p, i], n[p, j]) - 1) ** 2 for j in S for i in range(j)) for p in P])
    eq6 = np.mean([sum((cos(n[p, i], n[q, i]) - 1) ** 2 for i in S) for p, q in others])
    eq7 = np.mean(
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
    eq8 = np.mean(
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
        losses.anatomy_consistency(a),
        losses.modality_consistency(a.flatten(2)),
        losses.anatomy_similarity(a, 0.2),
        losses.modality_similarity(a.flatten(2), 0.5),
    ]
    np.testing.assert_allclose([float(f) for f in found], [eq5, eq6, eq7, eq8], rtol=1e-5)
    if sequences == 1:
        assert float(found[0]) == float(found[2]) == float(found[3]) == 0


def test_one_sequence_still_lets_the_gradient_through():
    a = noise(2, 1, 8).requires_grad_()
    total = (
        losses.anatomy_consistency(a)
        + losses.modality_consistency(a)
        + losses.anatomy_similarity(a, 0.2)
        + losses.modality_similarity(a, 0.5)
    )
    total.backward()
    assert a.grad.isfinite().all()


def test_eq9_and_eq11_compare_with_the_image_whose_modality_was_used():
    images = torch.stack([torch.full((2, 2, 2), 0.2), torch.full((2, 2, 2), 0.7)])[None]
    brain = torch.ones(1, 1, 2, 2, 2)
    restored = torch.empty(1, 2, 2, 2, 2, 2)
    for i in range(2):
        for j in range(2):
            restored[0, i, j] = images[0, j]  # anatomy i, modality j
    assert float(losses.image_error(restored, images, brain)) == 0
    # With the printed target x_i, the two crossed images would be right the other way round.
    swapped = restored.transpose(1, 2)
    assert float(losses.image_error(swapped, images, brain)) == pytest.approx(0.5 + 0.5)


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
    assert float(losses.image_error(restored, images, brain)) == pytest.approx(by_hand, rel=1e-5)


def test_eq10_plain_is_the_mean_square_and_pulls_at_both_codes():
    restored, encoded = noise(2, 3, 4, 4, 4).requires_grad_(), noise(2, 3, 4, 4, 4, seed=1)
    encoded.requires_grad_()
    loss = losses.code_consistency(restored, encoded, normalised=False)
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
    found = losses.code_consistency(restored, encoded, normalised=True)
    assert float(found) == pytest.approx(by_hand, rel=1e-5)


def test_eq10_normalised_lets_no_gradient_into_the_encoded_code():
    restored, encoded = noise(1, 2, 4, 4, 4).requires_grad_(), noise(1, 2, 4, 4, 4, seed=1)
    encoded.requires_grad_()
    losses.code_consistency(restored, encoded, normalised=True).backward()
    assert encoded.grad is None
    assert restored.grad.abs().sum() > 0


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_shrinking_the_codes_gains_nothing_when_normalised_and_all_when_plain(scale):
    restored, encoded = noise(2, 3, 4, 4, 4), noise(2, 3, 4, 4, 4, seed=1)
    for normalised, factor in ((True, 1.0), (False, scale**2)):
        before = losses.code_consistency(restored, encoded, normalised=normalised)
        after = losses.code_consistency(scale * restored, scale * encoded, normalised=normalised)
        assert float(after) == pytest.approx(factor * float(before), rel=5e-3)
