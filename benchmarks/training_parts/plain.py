"""DAL's training step as a careful author would first write it, with the same sub-networks.

One image at a time through each encoder, one combination (anatomy i, modality j) at a time through
R_D, SimpleITK's 3-D Canny per image, single precision, torch's default memory layout. Weights and
losses are those of ours: on the same batch and the same edges both come to the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.method import Batch
from dal_auto.networks.anatomy import differentiable_one_hot, halve, merge_channels

Edges = Callable[[Tensor], Tensor]


def itk_edges(anatomy: Tensor, settings: object) -> Tensor:
    """SimpleITK's 3-D Canny of one volume (1, 1, x, y, z), with the plans' σ and thresholds."""
    image = sitk.GetImageFromArray(anatomy[0, 0].detach().numpy())
    found = sitk.CannyEdgeDetection(
        image,
        lowerThreshold=settings.canny_low,  # type: ignore[attr-defined]
        upperThreshold=settings.canny_high,  # type: ignore[attr-defined]
        variance=[settings.canny_sigma_voxels**2] * 3,  # type: ignore[attr-defined]
        maximumError=[0.01] * 3,
    )
    return torch.from_numpy(sitk.GetArrayFromImage(found).astype(np.float32))[None, None]


def plain_losses(network: nn.Module, settings: object, batch: Batch, edges: Edges) -> Tensor:
    """Eq. 13 of one batch in which every subject has every sequence."""
    net, s = network, settings
    subjects, sequences = batch.images.shape[:2]
    one_hots, vectors, codes, restored_codes = {}, {}, {}, {}
    for p in range(subjects):
        mask = batch.brain_mask[p][None]
        for i in range(sequences):
            x = batch.images[p, i][None, None]
            one_hots[p, i] = differentiable_one_hot(net.E_A(x)) * mask
            anatomy = merge_channels(one_hots[p, i], mask)
            vectors[p, i] = net.E_M(halve(x))
            codes[p, i] = net.R_A(anatomy)
            restored_codes[p, i] = net.R_E(edges(anatomy))

    recon, rest = 0.0, 0.0
    for p in range(subjects):
        mask = batch.brain_mask[p][None]
        for i in range(sequences):
            for j in range(sequences):
                target = batch.images[p, j][None, None]
                for which, own in (("recon", codes), ("rest", restored_codes)):
                    image = net.R_D(own[p, i], vectors[p, j])
                    error = ((image - target).abs() * mask).sum() / mask.sum() / subjects
                    if which == "recon":
                        recon = recon + error
                    else:
                        rest = rest + error

    con_a = sum(
        (_cosine(one_hots[p, i], one_hots[p, j]) - 1) ** 2
        for p in range(subjects)
        for i, j in combinations(range(sequences), 2)
    )
    pairs = list(combinations(range(subjects), 2))
    con_m = sum(
        (_cosine(vectors[p, i], vectors[q, i]) - 1) ** 2 for p, q in pairs for i in range(sequences)
    )
    sim_a, sim_m = 0.0, 0.0
    for p, q in permutations(range(subjects), 2):
        for i, j in permutations(range(sequences), 2):
            gap_a = _cosine(one_hots[p, i], one_hots[q, i]) - _cosine(
                one_hots[p, i], one_hots[p, j]
            )
            gap_m = _cosine(vectors[p, i], vectors[p, j]) - _cosine(vectors[p, i], vectors[q, i])
            sim_a = sim_a + F.relu(gap_a + s.margin_anatomy)
            sim_m = sim_m + F.relu(gap_m + s.margin_modality)
    con_ae = sum(
        F.mse_loss(F.instance_norm(restored_codes[key]), F.instance_norm(codes[key].detach()))
        for key in codes
    )
    ordered = subjects * (subjects - 1)
    return (
        s.weight_reconstruction * (recon + rest)
        + s.weight_anatomy * (con_a / subjects + sim_a / ordered)
        + s.weight_modality * (con_m / len(pairs) + sim_m / ordered)
        + s.weight_code * con_ae / len(codes)
    )


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first.flatten(), second.flatten(), dim=0)
