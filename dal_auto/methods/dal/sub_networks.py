"""The sub-networks of DAL, as the plans switch them on, and the pseudo-healthy image (Eq. 14)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dal_auto.case import Shape
from dal_auto.methods.dal.settings import DalSettings
from dal_auto.methods.method import Tile
from dal_auto.networks.anatomy import (
    AnatomyExtractor,
    differentiable_one_hot,
    halve,
    merge_channels,
)
from dal_auto.networks.boundary import boundary_map
from dal_auto.networks.canny import canny_edges
from dal_auto.networks.modality import ModalityExtractor
from dal_auto.networks.restoration import CodeEncoder, RepresentationCombiner

#: Updates after which the mean modality vector forgets: E_M changes while it is trained.
_REMEMBERED = 100


#: Images that are computed again together. One would hold less, but for a single image of few
#: channels torch's convolutions on a CPU take a path that is five times as slow.
_AT_ONCE = 2


class SubNetworks(nn.Module):
    """E_A, E_M, R_A, R_E and R_D, named as in the paper; those that the plans leave out are not
    there.

    Parameters
    ----------
    sequences : how many there are
    shape : of the configuration's grid
    """

    E_A: AnatomyExtractor
    E_M: ModalityExtractor
    R_A: CodeEncoder
    R_E: CodeEncoder
    R_D: RepresentationCombiner
    mean_modality: Tensor
    mean_updates: Tensor
    tissue_prior: Tensor

    def __init__(self, settings: DalSettings, sequences: int, shape: Shape) -> None:
        super().__init__()
        self.settings = settings
        encoder = (settings.code_channels, settings.downsamplings, settings.context_widths)
        length = 0
        if settings.disentangling:
            self.E_A = AnatomyExtractor(settings.anatomy_widths, settings.classes)
            self.E_M = ModalityExtractor(settings.modality_widths, settings.modality_pooled)
            self.R_A = CodeEncoder(1, *encoder)
            length = self.E_M.length
        if settings.edge_to_image:
            self.R_E = CodeEncoder(1 + settings.classes * settings.sees_atlas, *encoder)
        if settings.sees_atlas:
            self.register_buffer("tissue_prior", torch.zeros(1, settings.classes, *shape))
        self.R_D = RepresentationCombiner(settings.code_channels, settings.downsamplings, length)
        if settings.output_bias is not None and self.R_D.output.bias is not None:
            nn.init.constant_(self.R_D.output.bias, settings.output_bias)
        if settings.remembers_modality:
            self.register_buffer("mean_modality", torch.zeros(sequences, length))
            self.register_buffer("mean_updates", torch.zeros(sequences))

    def run(self, name: str, *inputs: Tensor | None, brain: Tensor) -> Tensor:
        """One batched call of a sub-network on channels-last volumes.

        Parameters
        ----------
        brain : (N, 1, x, y, z), 0 or 1; of no effect where the plans take statistics over the grid

        With `checkpoint_activations` it is called for two images at a time, and what it keeps for
        the backward pass is computed again there: at most two images' is held.
        """
        network: nn.Module = getattr(self, name)
        seen = brain if self.settings.statistics == "brain" else None
        inputs = (*(_channels_last(x) for x in inputs), seen)
        if not (self.settings.checkpoint_activations and torch.is_grad_enabled()):
            return network(*inputs)  # type: ignore[no-any-return]
        count = next(len(x) for x in inputs if x is not None)
        pieces = [
            checkpoint(
                network,
                *(None if x is None else x[n : n + _AT_ONCE] for x in inputs),
                use_reentrant=False,
                preserve_rng_state=False,  # nothing in there is random
            )
            for n in range(0, count, _AT_ONCE)
        ]
        return torch.cat(pieces)

    def restorer_input(self, volumes: Tensor) -> Tensor:
        """What R_E sees: E (`edges`), and the atlas's tissue fractions where the plans want them.

        Parameters
        ----------
        volumes : (N, 1, x, y, z) of the whole grid

        Returns
        -------
        (N, 1 or 1 + C, x, y, z)
        """
        edges = self.edges(volumes)
        if not self.settings.sees_atlas:
            return edges
        prior = self.tissue_prior.to(edges.dtype).expand(len(edges), -1, -1, -1, -1)
        return torch.cat([edges, prior], dim=1)

    def edges(self, volumes: Tensor) -> Tensor:
        """E = E_d(A): (N, 1, x, y, z) → the same shape, 0 or 1, without gradient."""
        s = self.settings
        if s.edges == "boundary":
            return boundary_map(volumes)
        return canny_edges(
            volumes,
            sigma_voxels=s.canny_sigma_voxels,
            low=s.canny_low,
            high=s.canny_high,
            hysteresis_steps=s.canny_hysteresis_steps,
        )

    def modality_for_prediction(self, vectors: Tensor, sequences: list[int]) -> Tensor:
        """M of each image, pulled towards its sequence's training mean; without modality reuse
        (Table 7), that mean alone.

        Parameters
        ----------
        vectors : (N, m)
        sequences : of each image, its place among the plans' sequences
        """
        if not self.settings.remembers_modality:
            return vectors
        pull = self.settings.modality_pull if self.settings.modality_reuse else 1.0
        return torch.lerp(vectors.float(), self.mean_modality[sequences], pull)

    @torch.no_grad()
    def remember_modality(self, vectors: Tensor, present: Tensor) -> None:
        """Follow the mean modality vector of each sequence over the training set.

        Parameters
        ----------
        vectors : (P, S, m) of all processes
        present : (P, S), 0 or 1
        """
        count = present.sum(0)
        seen = (count > 0).to(vectors.dtype)
        mean = (vectors * present[..., None]).sum(0) / count.clamp(min=1)[:, None]
        self.mean_updates += seen
        rate = seen / self.mean_updates.clamp(min=1, max=_REMEMBERED)
        self.mean_modality += rate[:, None] * (mean - self.mean_modality)


@dataclass(frozen=True, eq=False)
class Restored:
    """Pseudo-healthy images (N, 1, x, y, z) in [0, 1], and what they were made from.

    Parameters
    ----------
    image : the pseudo-healthy image x_r
    anatomy, edges : A and E, where the method has them
    modality : (N, m) vector of the input, where the method has one
    """

    image: Tensor
    anatomy: Tensor | None
    edges: Tensor | None
    modality: Tensor | None


def restore(
    networks: SubNetworks, images: Tensor, brain_mask: Tensor, sequences: list[int], tile: Tile
) -> Restored:
    """Eq. 14: x_r = R_D(R_E(E_d(φ(E_A(x)))), f(E_M(x̄))), cut to the brain and to [0, 1].

    Anatomy and restoration run in windows; edges and modality are those of the whole brain. The
    variants of Table 7 leave parts out: without edge-to-image the code is R_A(A), without
    disentangling the edges are the image's own and there is no M, without modality reuse M is the
    training mean of the sequence.

    Parameters
    ----------
    images, brain_mask : (N, 1, x, y, z)
    sequences : of each image, its place among the plans' sequences
    tile : runs a network in windows where the volume is larger than one
    """
    settings = networks.settings
    anatomy = edges = vectors = modality = None
    source = images
    if settings.disentangling:
        logits = tile(
            lambda part: networks.run("E_A", part[:, :1], brain=part[:, 1:]),
            torch.cat([images, brain_mask], dim=1),
        )
        source = anatomy = merge_channels(differentiable_one_hot(logits), brain_mask)
        vectors = networks.run("E_M", halve(images), brain=brain_mask)
        modality = networks.modality_for_prediction(vectors, sequences)
    if settings.edge_to_image:
        source = networks.restorer_input(source)
        edges = source[:, :1]
    encoder = "R_E" if settings.edge_to_image else "R_A"

    def restored(windows: Tensor) -> Tensor:
        vector = None if modality is None else modality.expand(len(windows), -1)
        inputs, brain = windows[:, :-1], windows[:, -1:]
        code = networks.run(encoder, inputs, brain=brain)
        return networks.run("R_D", code, vector, brain=brain)

    image = (tile(restored, torch.cat([source, brain_mask], dim=1)) * brain_mask).clamp(0, 1)
    return Restored(image, anatomy, edges, vectors)


def _channels_last(x: Tensor | None) -> Tensor | None:
    """The memory layout that convolutions on CPU and GPU are fastest with."""
    if x is None or x.ndim != 5:
        return x
    return x.contiguous(memory_format=torch.channels_last_3d)
