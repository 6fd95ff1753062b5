"""Labels that teach E_A: known tissues, or three classes of T1 intensity (ours, unsupervised)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto import distributed
from dal_auto.methods.method import Batch

#: Of this class is what teaches nothing: `cross_entropy` leaves it out.
NO_CLASS = -100
#: A fixed number, since "until nothing changes" would wait for the device.
_LLOYD_STEPS = 10


def tissue_classes(images: Tensor, brain_mask: Tensor, classes: int) -> Tensor:
    """Voxels of each image put into classes of increasing intensity by k-means (Lloyd 1982).

    On T1 the order is CSF < GM < WM, as the merging of Eq. 4 presumes. The centres start at
    quantiles of the brain.

    Parameters
    ----------
    images : (P, x, y, z)
    brain_mask : (P, x, y, z), 0 or 1

    Returns
    -------
    (P, x, y, z) int64, 0 … classes − 1; outside the brain −100, which cross-entropy ignores
    """
    values, inside = images.flatten(1).float(), brain_mask.flatten(1) > 0
    centres = _quantiles(values, inside, classes)
    brain = torch.where(inside, values, 0)
    for _ in range(_LLOYD_STEPS):
        # Voxels at or below each edge, and their sum; differences are those of a class.
        below = [(values <= edge) & inside for edge in _edges(centres)] + [inside]
        counts = torch.stack([one.sum(1) for one in below]).to(values.dtype)
        sums = torch.stack([(brain * one).sum(1) for one in below])
        counts, sums = (t.diff(dim=0, prepend=torch.zeros_like(t[:1])) for t in (counts, sums))
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    above = [(values > edge).long() for edge in _edges(centres)]
    labels = torch.where(inside, torch.stack(above).sum(0), NO_CLASS)
    return labels.view(images.shape)


def mean_tissue_fractions(batches: Iterable[Batch], classes: int, reference: int) -> Tensor | None:
    """Share of the subjects that have each class in a voxel, by `tissue_classes`.

    Parameters
    ----------
    batches : healthy subjects; those that lack the reference sequence do not count
    reference : place of the sequence whose intensities give the classes

    Returns
    -------
    (1, classes, x, y, z) in [0, 1], 0 where no brain is; None if no subject counts
    """
    total, subjects = torch.zeros(()), 0
    for batch in batches:
        there = batch.present[:, reference]
        images, brain = batch.images[there, reference], batch.brain_mask[there, 0]
        labels = tissue_classes(images, brain, classes)
        total = total.to(labels.device) + F.one_hot(labels.clamp(min=-1) + 1, classes + 1).sum(0)
        subjects += len(labels)
    return (total[..., 1:] / subjects).movedim(-1, 0)[None] if subjects else None


def _edges(centres: Tensor) -> Tensor:
    """Half-way between neighbouring centres: (classes, P) → (classes − 1, P, 1)."""
    return ((centres[1:] + centres[:-1]) / 2)[:, :, None]


def _quantiles(values: Tensor, inside: Tensor, classes: int) -> Tensor:
    """The middle of each of `classes` equal shares of the brain's voxels: (classes, P)."""
    ordered = torch.where(inside, values, torch.inf).sort(dim=1).values
    last = inside.sum(1).sub(1).clamp(min=0)
    middles = (torch.arange(classes, device=values.device, dtype=values.dtype) + 0.5) / classes
    place = middles[:, None] * last  # (classes, P), between two voxels
    lower = place.floor().long()
    upper = torch.minimum(lower + 1, last)
    low, high = (ordered.T.gather(0, index) for index in (lower, upper))
    return torch.lerp(low, high, place - lower)


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of E_A's logits to tissue classes, a mean over the voxels that have one.

    Parameters
    ----------
    logits : (P·S, C, x, y, z)
    labels : (P, S, x, y, z) int64; −100 teaches nothing
    """
    labels = labels.flatten(0, 1)
    total = F.cross_entropy(logits.float(), labels, reduction="sum")
    voxels = (labels != NO_CLASS).sum(dtype=torch.float32)[None]
    everywhere = distributed.gathered(voxels).sum().clamp(min=1)
    return total * distributed.world_size() / everywhere
