"""The losses of DAL, one function per equation (paper §3.2.3, §3.3, §3.4), reduced to scalars.

Shapes: P subjects, S sequences. Pairs of subjects (p, q) run over p ≠ q, pairs of sequences over
i ≠ j; Eq. 5 and, for symmetric terms, unordered pairs are counted once. With two subjects and two
sequences these are the paper's sums.

A subject may lack a sequence. Each term is a mean over the subjects (or pairs of subjects) that
have what it compares, and a sum over sequences; where nobody has it, it is 0. What is absent is
multiplied by 0 and never looked up, so that the device need not wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto import distributed
from dal_auto.networks.precision import at_least_single

#: Loss by name → the weight of Eq. 13 that it has, by name.
WEIGHT_OF = {
    "recon": "reconstruction",
    "rest": "reconstruction",
    "con_A": "anatomy",
    "sim_A": "anatomy",
    "con_M": "modality",
    "sim_M": "modality",
    "con_AE": "code",
    "labels": "labels",
}

#: A tensor shorter than this has no direction; its cosines are 0.
_SHORTEST = 1e-8


class Cosines(NamedTuple):
    """Cosine similarities of flattened tensors X, float32 at least.

    Parameters
    ----------
    within : (P, S, S), [p, i, j] is cos(X_i^p, X_j^p)
    across : (P, P, S), [p, q, i] is cos(X_i^p, X_i^q)
    """

    within: Tensor
    across: Tensor


def cosines(tensors: Tensor) -> Cosines:
    """Cosines of each subject's sequences, and of each sequence's subjects.

    Products are summed elementwise: a matrix product would round more, as millions of terms are
    added one after the other, and run in half precision under autocast.

    Parameters
    ----------
    tensors : (P, S, …)
    """
    whole = at_least_single(tensors)
    within = _products(whole.unbind(1)).permute(2, 0, 1)
    across = _products(whole.unbind(0))
    lengths = within.diagonal(dim1=1, dim2=2).clamp_min(_SHORTEST**2).sqrt()  # [p, i]
    return Cosines(
        within / (lengths[:, :, None] * lengths[:, None]),
        across / (lengths[:, None] * lengths),
    )


def _products(vectors: Sequence[Tensor]) -> Tensor:
    """Inner products of n tensors (k, …), each with each: (n, n, k). None is flattened, which would
    copy what lies channels last."""
    found = {
        (a, b): (vectors[a] * vectors[b]).sum(dim=tuple(range(1, vectors[a].ndim)))
        for a, b in combinations_with_replacement(range(len(vectors)), 2)
    }
    rows = [
        torch.stack([found[min(a, b), max(a, b)] for b in range(len(vectors))])
        for a in range(len(vectors))
    ]
    return torch.stack(rows)


def anatomy_consistency(cos: Cosines, present: Tensor) -> Tensor:
    """Eq. 5: ‖cos(A_i, A_j) − 1‖², summed over i < j, mean over subjects.

    Parameters
    ----------
    cos : `cosines` of the anatomies
    present : (P, S), 0 or 1
    """
    both = present[:, :, None] * present[:, None]
    return _sum_of_means((cos.within - 1).square(), both, dims=(0,)).triu(1).sum()


def modality_consistency(cos: Cosines, present: Tensor) -> Tensor:
    """Eq. 6: Σ_i ‖cos(M_i^p, M_i^q) − 1‖², mean over pairs of subjects.

    Parameters
    ----------
    cos : `cosines` of the modality vectors
    present : (P, S), 0 or 1
    """
    both = present[:, None] * present * _different(len(present), cos.across)[:, :, None]
    return _sum_of_means((cos.across - 1).square(), both, dims=(0, 1)).sum()


def anatomy_similarity(cos: Cosines, present: Tensor, margin: float) -> Tensor:
    """Eq. 7: Σ_{i≠j} max(0, cos(A_i^p, A_i^q) − cos(A_i^p, A_j^p) + α_A), mean over p ≠ q.

    Parameters
    ----------
    cos : `cosines` of the anatomies
    present : (P, S), 0 or 1
    """
    gap = cos.across[..., None] - cos.within[:, None]
    return _sum_of_means(F.relu(gap + margin), _triples(present), dims=(0, 1)).sum()


def modality_similarity(cos: Cosines, present: Tensor, margin: float) -> Tensor:
    """Eq. 8: Σ_{i≠j} max(0, cos(M_i^p, M_j^p) − cos(M_i^p, M_i^q) + α_M), mean over p ≠ q.

    Parameters
    ----------
    cos : `cosines` of the modality vectors
    present : (P, S), 0 or 1
    """
    gap = cos.within[:, None] - cos.across[..., None]
    return _sum_of_means(F.relu(gap + margin), _triples(present), dims=(0, 1)).sum()


def _triples(present: Tensor) -> Tensor:
    """[p, q, i, j]: 1 where p ≠ q, i ≠ j, and X_i^p, X_i^q and X_j^p are there, which is what Eq. 7
    and 8 compare; else 0."""
    subjects, sequences = present.shape
    all_three = (present[:, None] * present)[..., None] * present[:, None, None]
    apart = _different(subjects, present)[:, :, None, None] * _different(sequences, present)
    return all_three * apart


def _different(count: int, like: Tensor) -> Tensor:
    """(count, count), 0 on the diagonal and 1 elsewhere."""
    return 1 - torch.eye(count, device=like.device, dtype=like.dtype)


def _sum_of_means(terms: Tensor, weights: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Means over `dims` of what weighs 1; 0 where nothing does."""
    return (terms * weights).sum(dims) / weights.sum(dims).clamp(min=1)


def shares(present: Tensor) -> Tensor:
    """With what share a subject's own term (i, j) enters the mean over all subjects that have both.

    Several processes see different subjects, and their gradients are averaged: there the shares are
    as many times larger, and the mean is that of one process with all subjects.

    Parameters
    ----------
    present : (P, S), 0 or 1, of this process

    Returns
    -------
    (P, S, S)
    """
    everywhere = distributed.gathered(present)
    count = torch.einsum("pi,pj->ij", everywhere, everywhere).clamp(min=1)
    return present[:, :, None] * present[:, None] * distributed.world_size() / count


def image_error(
    restored: Tensor,
    images: Tensor,
    brain_mask: Tensor,
    share: Tensor,
    columns: Tensor | None = None,
) -> Tensor:
    """Eq. 9 and Eq. 11: L1 of x_ij against x_j, summed over i and j, mean over subjects and brain.

    The target is the image whose modality was used (the paper prints x_i; its text says "the paired
    image"). Each (i, i) counts once. Where one j was drawn for each (p, i), it counts for all that
    it was drawn from: the sum's expectation is the same.

    Parameters
    ----------
    restored : (P, S, J, x, y, z), [p, i, j] from anatomy i and modality j; J is S, or 1
    images : (P, S, x, y, z)
    brain_mask : (P, 1, x, y, z)
    share : (P, S, S) of `shares`
    columns : (P, S) the j that was drawn; None where J is S
    """
    targets = (images * brain_mask)[:, None]
    if columns is not None:
        rows = torch.arange(len(images), device=images.device)[:, None]
        targets = targets[:, 0][rows, columns][:, :, None]
        drawn_from = (share > 0).sum(2, keepdim=True)
        share = share.gather(2, columns[..., None]) * drawn_from
    error = (restored * brain_mask[:, None] - targets).abs()
    voxels = brain_mask.flatten(1).sum(1).clamp(min=1)
    return (error.flatten(3).sum(3) / voxels[:, None, None] * share).sum()


def code_consistency(
    restored: Tensor, encoded: Tensor, present: Tensor, *, normalised: bool
) -> Tensor:
    """Eq. 10: ‖R_E(E) − R_A(A)‖², as a mean over images and the code.

    Parameters
    ----------
    restored, encoded : (N, c, …) codes of R_E and R_A
    present : (N,), 0 or 1, of this process
    normalised : compare instance-normalised codes and let no gradient into R_A, so that shrinking
        the codes gains nothing
    """
    restored, encoded = at_least_single(restored), at_least_single(encoded)
    if normalised:
        restored, encoded = F.instance_norm(restored), F.instance_norm(encoded.detach())
    error = (restored - encoded).square().flatten(1).mean(1)
    count = distributed.gathered(present).sum().clamp(min=1)
    return (error * present).sum() * distributed.world_size() / count


def total_loss(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Eq. 13: λ_rec(L_recon + L_rest) + λ_a(L_con^A + L_sim^A) + λ_m(…) + λ_ae L_con^AE.

    Parameters
    ----------
    parts : losses by name, those of `WEIGHT_OF` that are on
    weights : "reconstruction", "anatomy", "modality", "code" → λ; "labels" → that of the
        cross-entropy to known tissues (ours)
    """
    first, *others = (weights[WEIGHT_OF[name]] * value for name, value in parts.items())
    return sum(others, first)
