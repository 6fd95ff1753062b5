"""Figures that tell a healthy training of DAL from one that has collapsed, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from dal_auto.methods.dal.sub_networks import SubNetworks
from dal_auto.methods.method import RESTORATION_ERROR, Batch
from dal_auto.networks.anatomy import halve
from dal_auto.scoring.box_filters import minimum_filter

#: Least share of the brain in a tissue class; below it the anatomy has collapsed.
_LEAST_OCCUPANCY = 0.02
#: Least standard deviation of a channel of the code.
_LEAST_CODE_STD = 1e-3
#: Share of the inner brain's voxels that are edges: below this, hardly any is left.
_FEWEST_EDGES = 0.03
#: And above this the labels are noise. By Canny true tissue labels have 0.25 at 1 mm and 0.36 at
#: 4 mm, random ones 0.42; on the boundary map true ones have 0.44 at 4 mm, random ones 0.64.
_MOST_EDGES = {"canny": 0.40, "boundary": 0.55}
#: Voxels next to the brain's outline, whose edges say nothing of tissues.
_RIM = 2


@torch.no_grad()
def figures_of(networks: SubNetworks, batch: Batch, sequences: Sequence[str]) -> dict[str, Tensor]:
    """Figures over the images that are there, by name.

    ``occupancy_1`` … : share of the brain in each tissue class. ``label_agreement`` : share of the
    brain in which two sequences of a subject have the same class, over all pairs of sequences, and
    by pair where there are several. ``edge_density``, ``inner_edge_density`` : share of the brain,
    and of what lies more than two voxels inside, that is edge. ``code_std`` : standard deviation
    over space of R_A's code (R_E's, where there is no R_A), mean over channels.
    ``restoration_error`` : mean |x_r − x| of the brain, each image restored with its own modality.
    ``nan_share`` : share of logits, codes and restored voxels that are not finite.

    Parameters
    ----------
    batch : its absent images 0
    sequences : their names
    """
    settings, shape = networks.settings, batch.present.shape
    images = batch.images.flatten(0, 1)[:, None]
    there = batch.present.flatten()[:, None, None, None, None]
    mask = batch.brain_mask.repeat_interleave(shape[1], dim=0)
    inside = mask * there
    figures: dict[str, Tensor] = {}
    source, modality, checked = images, None, []
    if settings.disentangling:
        logits = networks.run("E_A", images, brain=mask)
        labels = logits.argmax(dim=1, keepdim=True)
        for c in range(settings.classes):
            figures[f"occupancy_{c + 1}"] = _share((labels == c), inside)
        figures |= _agreement(labels.unflatten(0, shape)[:, :, 0], batch, sequences)
        source = (labels + 1) / settings.classes * inside
        modality = networks.run("E_M", halve(images), brain=mask)
        checked.append(logits)
    code = networks.run("R_A", source, brain=mask) if settings.disentangling else None
    if settings.edge_to_image:
        seen = networks.restorer_input(source)
        edges = seen[:, :1]
        figures["edge_density"] = _share(edges, inside)
        width = 2 * _RIM + 1
        inner = minimum_filter(inside, (width, width, width))
        figures["inner_edge_density"] = _share(edges, inner)
        restored_code = networks.run("R_E", seen, brain=mask)
        code = restored_code if code is None else code
        restored = networks.run("R_D", restored_code, modality, brain=mask)
        figures[RESTORATION_ERROR] = _share((restored.clamp(0, 1) - images).abs(), inside)
        checked.append(restored)
    assert code is not None, "the settings leave at least one encoder"
    spread = code.flatten(2).float().std(dim=2).mean(dim=1)
    figures["code_std"] = _share(spread, batch.present.flatten())
    bad = torch.stack([_share(~x.isfinite(), there.expand_as(x)) for x in [*checked, code]])
    figures["nan_share"] = bad.mean()
    return figures


def _agreement(labels: Tensor, batch: Batch, sequences: Sequence[str]) -> dict[str, Tensor]:
    """How far the labels (P, S, x, y, z) of two sequences are the same; 1 where no pair is."""
    pairs = list(combinations(range(len(sequences)), 2))
    inside = [
        batch.brain_mask[:, 0] * (batch.present[:, i] & batch.present[:, j])[:, None, None, None]
        for i, j in pairs
    ]
    differ = [labels[:, i] != labels[:, j] for i, j in pairs]
    figures = {}
    if pairs:
        figures["label_agreement"] = 1 - _share(torch.stack(differ), torch.stack(inside))
    if len(pairs) > 1:
        for (i, j), different, where in zip(pairs, differ, inside, strict=True):
            name = f"label_agreement_{sequences[i]}_{sequences[j]}"
            figures[name] = 1 - _share(different, where)
    return figures


def _share(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values` over what `where` marks with 1."""
    return (values * where).sum(dtype=torch.float32) / where.sum().clamp(min=1)


def warnings_about(figures: Mapping[str, float], edges: str) -> list[str]:
    """What is wrong with the figures, and what to try.

    Parameters
    ----------
    edges : the setting of that name, "canny" or "boundary"
    """
    found = [
        f"anatomy has collapsed: class {name.removeprefix('occupancy_')} holds {value:.1%} of the "
        "brain. Try method.settings.similarity_of=onehot, more method.settings.warm_start_steps, "
        "or a lower training.learning_rate"
        for name, value in figures.items()
        if name.startswith("occupancy_") and value < _LEAST_OCCUPANCY
    ]
    if figures.get("code_std", 1.0) < _LEAST_CODE_STD:
        found.append(
            f"codes have shrunk: their standard deviation is {figures['code_std']:.1e}. Try "
            "method.settings.code_consistency=normalised, or a lower method.settings.weight_code"
        )
    density = figures.get("inner_edge_density")
    if density is not None and density < _FEWEST_EDGES:
        found.append(
            f"edges have vanished: {density:.1%} of the inner brain is edge, and the restored "
            "image can be but an average. Try a lower method.settings.canny_high and canny_low, "
            "or what helps against a collapse of the anatomy"
        )
    if density is not None and density > _MOST_EDGES[edges]:
        found.append(
            f"edges are everywhere: {density:.1%} of the inner brain is edge, so the anatomy is "
            "noise. Try more method.settings.warm_start_steps, a larger "
            "method.settings.canny_sigma_voxels, or a larger weight_anatomy"
        )
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if figures.get("nan_share", 0.0) > 0 or broken:
        found.append(
            f"{figures.get('nan_share', 0.0):.1%} of what the networks compute is not finite. Try "
            "a lower training.learning_rate, or training.amp=false"
        )
    return found
