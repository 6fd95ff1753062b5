"""PatchCore: what lies far from every patch of a healthy brain is anomalous.

Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards total recall in industrial anomaly
detection", CVPR 2022; the published code is amazon-science/patchcore-inspection (Apache-2.0; facts
only).

Deviations: axial slices are brought to 224 pixels along their longer side and not cropped (theirs:
256, then a crop of 224²); one bank for each sequence, of candidates drawn from the cohort, since
all patches of it would take 500 GB; only positions that hold brain are candidates and searched; a
Gaussian projection (theirs: a linear layer as it is initialised). The map's own filter, a Gaussian
in the slice, is part of it.

``features=self-trained`` learns the features on the healthy cohort (`self_trained`), for want of
ImageNet's weights. That is another method, and nothing of the paper's figures holds for it: its
maps, thresholds and rows in tables are called "self-trained".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.errors import PlansError, UsageError
from dal_auto.methods.coreset import Reservoir, greedy_centres, neighbour_distances, projected
from dal_auto.methods.features import (
    FeatureSettings,
    NamedSlices,
    brain_slices,
    build_trunk,
    drawn_generator,
    keep_slices,
    load_pretrained,
    require_named,
    require_pretrained,
    variant_of,
)
from dal_auto.methods.method import Batch, CohortMethod, Detection, Method, Tile
from dal_auto.methods.self_trained import SelfTrainedSettings, train_trunk
from dal_auto.methods.slices import axial_slices, smoothed, volume_of
from dal_auto.networks.backbone import PretrainedBackbone
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

logger = logging.getLogger(__name__)

_BANK, _TRUNK = "bank.", "trunk."
#: Of the sum of interpolation weights; less is not in the brain.
_SMALL = 1e-6


class PatchCoreSettings(FeatureSettings):
    """Hyper-parameters of PatchCore."""

    backbone: PretrainedBackbone = paper("wide_resnet50_2", "of pretrained features")
    input_side: int = paper(224, "images of 224²; here the longer side of a slice", ge=32)
    layers: tuple[int, ...] = paper((2, 3), "stages whose features are taken")
    patch_size: int = paper(3, "positions across a neighbourhood", ge=1)
    pooled_dimension: int = paper(1024, "of each stage's vectors, and of both together", ge=1)
    every_nth_slice: int = ours(4, "neighbouring slices are much alike", ge=1)
    slices_at_once: int = ours(16, "bounds the memory", ge=1)
    candidates: int = ours(200_000, "patches drawn for a sequence's bank: 0.8 GB", ge=1)
    bank_share: float = paper(0.1, "10 % of the candidates", gt=0, le=1)
    bank_limit: int = ours(10_000, "41 MB a sequence; the search takes as long as it is", ge=1)
    projection_dimension: int = paper(128, "in which the coreset is chosen", ge=1)
    coreset_starts: int = paper(10, "random points that a coreset begins from", ge=1)
    neighbours: int = paper(1, "k", ge=1)
    distance: Literal["squared", "euclidean"] = paper("squared", "as its code has it, by faiss")
    smoothing_sigma: float = paper(4.0, "of the map, in pixels of the resized slice", ge=0)


class PatchCore(CohortMethod):
    """Distance to the nearest patches of healthy brains, in the features of a ResNet."""

    name = "PatchCore"
    own_postprocessing = True
    Settings = PatchCoreSettings
    settings: PatchCoreSettings

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        _check(s)
        self.trunk = build_trunk(s, s.backbone, s.layers[-1])
        nothing = torch.zeros(0, s.pooled_dimension)
        self._banks: dict[str, Tensor] = dict.fromkeys(plans.sequences, nothing)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> PatchCoreSettings:
        if not configuration.is_small:
            return PatchCoreSettings()
        return PatchCoreSettings(
            self_trained=SelfTrainedSettings(stem_width=16, slices=1000, steps=300),
            input_side=64, layers=(1, 2), pooled_dimension=64, every_nth_slice=1,
            slices_at_once=64, candidates=20_000, bank_limit=1000, projection_dimension=32,
            smoothing_sigma=1.0,
        )  # fmt: skip

    @property
    def variant(self) -> str:
        """What the maps are called: nothing where the features are the paper's."""
        return variant_of(self.settings, self.settings.backbone)

    def require_files(self) -> None:
        if self.settings.features == "pretrained":
            require_pretrained(self.settings, self.settings.backbone)

    def fit_cohort(self, batches: Iterable[Batch]) -> None:
        """Fill the banks in one pass; features that are self-trained are learned before that, on
        slices kept from it."""
        s = self.settings
        generator = drawn_generator()
        slices: Iterable[NamedSlices] = brain_slices(
            batches, self.plans.sequences, s.every_nth_slice, generator
        )
        if s.features == "pretrained":
            load_pretrained(self.trunk, s, s.backbone)
        else:
            slices = self._train(slices, generator)
        self._fill(slices, generator)

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Search slice by slice; slices are small enough to need no windows."""
        bank = self._banks[sequence]
        slices, brain = (axial_slices(volume) for volume in (image, brain_mask.float()))
        score = torch.zeros_like(slices)
        held = brain.flatten(1).any(dim=1).nonzero()[:, 0]
        for some in held.split(self.settings.slices_at_once):
            vectors, inside = self._vectors(slices[some], brain[some])
            found = vectors.new_zeros(inside.shape)
            found[inside] = neighbour_distances(
                vectors[inside], bank, self.settings.neighbours,
                squared=self.settings.distance == "squared",
            )  # fmt: skip
            score[some] = self._as_slices(found[:, None], inside[:, None].float(), slices)
        return Detection({self.variant: volume_of(score) * brain_mask})

    def tensors(self) -> dict[str, Tensor]:
        banks = {f"{_BANK}{name}": bank for name, bank in self._banks.items()}
        return banks | {f"{_TRUNK}{n}": t for n, t in self.trunk.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self._banks = {name: tensors[f"{_BANK}{name}"] for name in self.plans.sequences}
        weights = {n.removeprefix(_TRUNK): t for n, t in tensors.items() if n.startswith(_TRUNK)}
        self.trunk.load_state_dict(weights)

    def to(self, device: str) -> Method:
        self.trunk.to(device)
        self._banks = {name: bank.to(device) for name, bank in self._banks.items()}
        return self

    def _train(
        self, slices: Iterable[NamedSlices], generator: torch.Generator
    ) -> list[NamedSlices]:
        """Keep slices of each sequence, train the trunk on them, and hand them on."""
        own = self.settings.self_trained
        every = keep_slices(slices, own.slices, generator)
        if every:
            x_mm, y_mm, _ = self.plans.configuration.spacing_mm
            both = torch.cat(list(every.values()))
            train_trunk(self.trunk, both, self._sized, (x_mm, y_mm), own)
        return [(name, found[:, :1], found[:, 1:]) for name, found in every.items()]

    @torch.no_grad()
    def _fill(self, slices: Iterable[NamedSlices], generator: torch.Generator) -> None:
        """Draw candidates from the slices, and thin them to the banks."""
        s, device = self.settings, next(self.trunk.parameters()).device
        drawn = {name: Reservoir(s.candidates, generator) for name in self.plans.sequences}
        for name, some, brain in slices:
            for one, where in zip(
                some.split(s.slices_at_once), brain.split(s.slices_at_once), strict=True
            ):
                vectors, inside = self._vectors(one.to(device).float(), where.to(device).float())
                drawn[name].add(vectors[inside])
        for name, reservoir in drawn.items():
            if not reservoir.seen:
                raise UsageError(f"no training case has {name}: leave it out with --sequences")
            candidates = reservoir.items().to(device)
            count = min(max(1, round(s.bank_share * len(candidates))), s.bank_limit)
            points = projected(candidates, s.projection_dimension, generator)
            chosen = greedy_centres(points, count, s.coreset_starts, generator)
            self._banks[name] = candidates[chosen]
            logger.info(
                "%s: a bank of %d patches from %d candidates, drawn from %d",
                name, len(chosen), len(candidates), reservoir.seen,
            )  # fmt: skip

    def _vectors(self, slices: Tensor, brain: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 1, h, w) → vectors (n, h', w', d), and whether their positions hold brain."""
        s = self.settings
        stages = self.trunk(self._sized(slices))
        vectors = patch_vectors([stages[i - 1] for i in s.layers], s.patch_size, s.pooled_dimension)
        inside = F.adaptive_max_pool2d(self._sized(brain), vectors.shape[1:3])[:, 0] > 0
        return vectors, inside

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        factor = self.settings.input_side / max(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def _sized(self, slices: Tensor) -> Tensor:
        """Resized to `input_side`, and padded with background to the trunk's stride."""
        size = self._resized(*slices.shape[2:])
        resized = F.interpolate(slices, size, mode="bilinear", antialias=True)
        below, right = (-length % self.trunk.stride for length in size)
        return F.pad(resized, (0, right, 0, below))

    def _as_slices(self, found: Tensor, inside: Tensor, slices: Tensor) -> Tensor:
        """From positions to the size of `slices`, bilinear and smoothed; positions without brain
        say nothing."""
        size = self._resized(*slices.shape[2:])
        padded = [length + -length % self.trunk.stride for length in size]
        sigma = self.settings.smoothing_sigma

        def back(positions: Tensor) -> Tensor:
            fine = F.interpolate(positions, padded, mode="bilinear")[:, :, : size[0], : size[1]]
            return F.interpolate(
                smoothed(fine, sigma), slices.shape[2:], mode="bilinear", antialias=True
            )

        weight = back(inside)
        return torch.where(weight > _SMALL, back(found) / weight.clamp(min=_SMALL), 0).clamp(min=0)


def patch_vectors(maps: Sequence[Tensor], patch_size: int, dimension: int) -> Tensor:
    """Features that know their neighbourhood, of all stages together.

    Each position's neighbourhood of C × patch × patch values is pooled to `dimension` (adaptive
    mean over neighbouring values), brought to the first map's grid, and the stages pooled again.

    Parameters
    ----------
    maps : (n, C, h, w) of each stage, the finest first

    Returns
    -------
    (n, h, w, dimension), h and w those of the finest
    """
    grid, pooled = maps[0].shape[2:], []
    for features in maps:
        around = F.unfold(features, patch_size, padding=patch_size // 2).transpose(1, 2)
        vectors = F.adaptive_avg_pool1d(around, dimension).transpose(1, 2)
        coarse = vectors.unflatten(2, features.shape[2:])
        # Pooled before it is interpolated, which is linear too: the same for a ninth of the work.
        pooled.append(F.interpolate(coarse, grid, mode="bilinear"))
    together = torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)
    return F.adaptive_avg_pool1d(together, dimension).unflatten(1, grid)


def _check(settings: PatchCoreSettings) -> None:
    layers = settings.layers
    if (
        not layers
        or not all(1 <= i <= 4 for i in layers)
        or any(b <= a for a, b in pairwise(layers))
    ):
        raise PlansError("method.settings.layers", layers, "it must ascend, within 1 to 4")
    if settings.patch_size % 2 == 0:
        raise PlansError("method.settings.patch_size", settings.patch_size, "it must be odd")
    require_named(settings, PatchCore.name, settings.backbone)
