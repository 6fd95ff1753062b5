"""A start for E_A: cross-entropy to three classes of T1 intensity (ours, unsupervised)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F


def tissue_classes(image: Tensor, brain_mask: Tensor, classes: int) -> Tensor:
    """Voxels of one image put into classes of increasing intensity by k-means.

    On T1 the order is CSF < GM < WM, as the merging of Eq. 4 presumes.

    Parameters
    ----------
    image, brain_mask : (x, y, z)

    Returns
    -------
    (x, y, z) int64, 0 … classes − 1; outside the brain −100, which cross-entropy ignores
    """
    inside = brain_mask > 0
    values = image[inside].detach().cpu().numpy().astype(np.float64)
    start = np.quantile(values, (np.arange(classes) + 0.5) / classes)
    centres, _ = kmeans2(values[:, None], start[:, None], minit="matrix")
    edges = np.convolve(np.sort(centres[:, 0]), [0.5, 0.5], mode="valid")
    labels = torch.full(image.shape, -100, dtype=torch.int64, device=image.device)
    labels[inside] = torch.bucketize(
        image[inside], torch.as_tensor(edges, dtype=image.dtype).to(image.device)
    )
    return labels


def warm_start_loss(logits: Tensor, images: Tensor, brain_mask: Tensor, reference: int) -> Tensor:
    """Cross-entropy of every sequence's logits to the classes of the reference sequence.

    Parameters
    ----------
    logits : (P, S, C, x, y, z)
    images : (P, S, x, y, z)
    brain_mask : (P, 1, x, y, z)
    reference : index of the sequence whose intensities give the classes
    """
    classes = logits.shape[2]
    labels = torch.stack(
        [
            tissue_classes(subject[reference], mask[0], classes)
            for subject, mask in zip(images, brain_mask, strict=True)
        ]
    )
    repeated = labels[:, None].expand(-1, images.shape[1], -1, -1, -1)
    return F.cross_entropy(logits.flatten(0, 1), repeated.flatten(0, 1))
