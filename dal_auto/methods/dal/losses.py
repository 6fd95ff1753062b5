"""The losses of DAL, one function per equation (paper §3.2.3, §3.3), reduced to scalars.

Shapes: P subjects, S sequences. Pairs of subjects (p, q) run over p ≠ q, pairs of sequences over
i ≠ j; Eq. 5 and, for symmetric terms, unordered pairs are counted once. With two subjects and two
sequences these are the paper's sums.
"""

from __future__ import annotations

from itertools import combinations, permutations

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarity of flattened tensors, along the first axis: (N, …), (N, …) → (N,)."""
    return F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)


def anatomy_consistency(anatomy: Tensor) -> Tensor:
    """Eq. 5: ‖cos(A_i, A_j) − 1‖², summed over i < j, mean over subjects.

    Parameters
    ----------
    anatomy : (P, S, …)
    """
    pairs = list(combinations(range(anatomy.shape[1]), 2))
    terms = [(cosine(anatomy[:, i], anatomy[:, j]) - 1).square() for i, j in pairs]
    return torch.stack(terms).sum(dim=0).mean() if terms else anatomy.new_zeros(())


def modality_consistency(vectors: Tensor) -> Tensor:
    """Eq. 6: Σ_i ‖cos(M_i^p, M_i^q) − 1‖², mean over pairs of subjects.

    Parameters
    ----------
    vectors : (P, S, m)
    """
    terms = [
        (cosine(vectors[p], vectors[q]) - 1).square().sum()
        for p, q in combinations(range(vectors.shape[0]), 2)
    ]
    return torch.stack(terms).mean() if terms else vectors.new_zeros(())


def anatomy_similarity(anatomy: Tensor, margin: float) -> Tensor:
    """Eq. 7: Σ_{i≠j} max(0, cos(A_i^p, A_i^q) − cos(A_i^p, A_j^p) + α_A), mean over p ≠ q.

    Parameters
    ----------
    anatomy : (P, S, …)
    """
    terms = [
        F.relu(
            cosine(anatomy[p, i][None], anatomy[q, i][None])
            - cosine(anatomy[p, i][None], anatomy[p, j][None])
            + margin
        )
        for p, q in permutations(range(anatomy.shape[0]), 2)
        for i, j in permutations(range(anatomy.shape[1]), 2)
    ]
    return _mean_over_subjects(terms, anatomy)


def modality_similarity(vectors: Tensor, margin: float) -> Tensor:
    """Eq. 8: Σ_{i≠j} max(0, cos(M_i^p, M_j^p) − cos(M_i^p, M_i^q) + α_M), mean over p ≠ q.

    Parameters
    ----------
    vectors : (P, S, m)
    """
    terms = [
        F.relu(
            cosine(vectors[p, i][None], vectors[p, j][None])
            - cosine(vectors[p, i][None], vectors[q, i][None])
            + margin
        )
        for p, q in permutations(range(vectors.shape[0]), 2)
        for i, j in permutations(range(vectors.shape[1]), 2)
    ]
    return _mean_over_subjects(terms, vectors)


def _mean_over_subjects(terms: list[Tensor], like: Tensor) -> Tensor:
    """Sum over sequence pairs, mean over subject pairs."""
    if not terms:
        return like.new_zeros(())
    subjects = like.shape[0]
    return torch.cat(terms).sum() / (subjects * (subjects - 1))


def image_error(restored: Tensor, images: Tensor, brain_mask: Tensor) -> Tensor:
    """Eq. 9 and Eq. 11: L1 of x_ij against x_j, summed over i and j, mean over subjects and brain.

    The target is the image whose modality was used (the paper prints x_i; its text says "the paired
    image"). Each (i, i) counts once.

    Parameters
    ----------
    restored : (P, S, S, x, y, z), [p, i, j] from anatomy i and modality j
    images : (P, S, x, y, z)
    brain_mask : (P, 1, x, y, z)
    """
    error = (restored - images[:, None]).abs().sum(dim=(1, 2))
    return ((error * brain_mask[:, 0]).flatten(1).sum(1) / brain_mask.flatten(1).sum(1)).mean()


def code_consistency(restored: Tensor, encoded: Tensor, *, normalised: bool) -> Tensor:
    """Eq. 10: ‖R_E(E) − R_A(A)‖², as a mean over the code.

    Parameters
    ----------
    restored, encoded : (N, c, …) codes of R_E and R_A
    normalised : compare instance-normalised codes and let no gradient into R_A, so that shrinking
        the codes gains nothing
    """
    if normalised:
        return F.mse_loss(F.instance_norm(restored), F.instance_norm(encoded.detach()))
    return F.mse_loss(restored, encoded)
