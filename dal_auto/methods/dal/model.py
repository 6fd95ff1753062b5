"""DAL: disentangled anatomy, edges, and the pseudo-healthy image restored from them.

"Unsupervised Anomaly Detection in Brain MRI via Disentangled Anatomy Learning", arXiv 2512.21924.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from dal_auto import distributed
from dal_auto.errors import PlansError
from dal_auto.methods.dal import losses
from dal_auto.methods.dal.code_decoder import decode, fit_decoder
from dal_auto.methods.dal.edge_noise import mislabelled
from dal_auto.methods.dal.settings import PAIR_TERMS, DalSettings, settings_for
from dal_auto.methods.dal.sub_networks import Restored, SubNetworks, restore
from dal_auto.methods.dal.warm_start import warm_start_loss
from dal_auto.methods.dal.watching import figures_of, warnings_about
from dal_auto.methods.method import Batch, Detection, GradientMethod, Tile
from dal_auto.networks.anatomy import differentiable_one_hot, halve, merge_channels
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.scoring.anomaly_score import anomaly_score

logger = logging.getLogger(__name__)


class DAL(GradientMethod):
    """The method; see the paper's Fig. 1."""

    name = "DAL"
    Settings = DalSettings
    settings: DalSettings
    network: SubNetworks

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        _check_sizes(plans.configuration, 2**self.settings.downsamplings)
        self.network = SubNetworks(self.settings, len(plans.sequences))
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._on = self.settings.losses(len(plans.sequences))

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DalSettings:
        return settings_for(preset, configuration)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Losses (Eq. 5–11) and their sum (Eq. 13), those of Eq. 5–8 over all processes' subjects.

        Each network is called once, for all subjects, sequences and combinations (i, j).
        """
        if len(self.plans.sequences) == 1:
            _say_once(
                f"{self.plans.sequences[0]} is the only sequence: {', '.join(PAIR_TERMS)} and the "
                "cross terms of Eq. 9 and 11 compare sequences, and are left out"
            )
        present = batch.present.to(batch.images.dtype)
        batch = _without_absent(batch)
        if not self.settings.disentangling:
            parts = self._parts_from_image_edges(batch, present)
        elif step < self.settings.warm_start_steps:
            loss = self._warm_start(batch, present)
            return {"loss": loss, "warm_start": loss}
        else:
            parts = self._parts(batch, present)
        return {"loss": losses.total_loss(parts, self.settings.weights()), **parts}

    def _warm_start(self, batch: Batch, present: Tensor) -> Tensor:
        logits = self.network.run("E_A", batch.images.flatten(0, 1)[:, None])
        reference = self.plans.sequences.index("T1") if "T1" in self.plans.sequences else 0
        logits = logits.unflatten(0, present.shape)
        return warm_start_loss(logits, batch.images, batch.brain_mask, present, reference)

    def _parts(self, batch: Batch, present: Tensor) -> dict[str, Tensor]:
        """The losses that are on, by name."""
        net, s, shape = self.network, self.settings, present.shape
        images = batch.images.flatten(0, 1)[:, None]
        mask = batch.brain_mask.repeat_interleave(shape[1], dim=0)
        one_hot = differentiable_one_hot(net.run("E_A", images)) * mask
        anatomy = merge_channels(one_hot, mask)
        vectors = net.run("E_M", halve(images)).unflatten(0, shape)
        codes = [net.run("R_A", anatomy)]
        if "rest" in self._on:
            noisy = s.edge_noise > 0 and net.training
            seen = mislabelled(anatomy, mask, s.edge_noise, s.classes) if noisy else anatomy
            codes.append(net.run("R_E", net.edges(seen)))
        share = losses.shares(present)
        parts = {
            name: losses.image_error(combined, batch.images, batch.brain_mask, share)
            for name, combined in zip(
                ("recon", "rest"), self._combined(codes, vectors), strict=False
            )
        }
        everywhere, all_vectors = distributed.gathered(present), distributed.gathered(vectors)
        if not s.modality_reuse and net.training:
            net.remember_modality(all_vectors.float(), everywhere)
        if self._on & {"con_A", "sim_A"}:
            compared = one_hot if s.similarity_of == "onehot" else anatomy
            cos = losses.cosines(distributed.gathered(compared.unflatten(0, shape)))
            if "con_A" in self._on:
                parts["con_A"] = losses.anatomy_consistency(cos, everywhere)
            if "sim_A" in self._on:
                parts["sim_A"] = losses.anatomy_similarity(cos, everywhere, s.margin_anatomy)
        if self._on & {"con_M", "sim_M"}:
            cos = losses.cosines(all_vectors)
            if "con_M" in self._on:
                parts["con_M"] = losses.modality_consistency(cos, everywhere)
            if "sim_M" in self._on:
                parts["sim_M"] = losses.modality_similarity(cos, everywhere, s.margin_modality)
        if "con_AE" in self._on:
            encoded, restored = codes
            normalised = s.code_consistency == "normalised"
            parts["con_AE"] = losses.code_consistency(
                restored, encoded, present.flatten(), normalised=normalised
            )
        return parts

    def _combined(self, codes: list[Tensor], vectors: Tensor) -> Tensor:
        """R_D(C_i, M_j) of every code and all (i, j).

        Parameters
        ----------
        codes : each (P·S, c, …)
        vectors : (P, S, m)

        Returns
        -------
        (len(codes), P, S, S, x, y, z), [code, p, i, j]
        """
        subjects, sequences = vectors.shape[:2]
        shape = (len(codes), subjects, sequences, sequences)
        stacked = torch.stack(codes).unflatten(1, (subjects, sequences))[:, :, :, None]
        anatomy = stacked.expand(*shape, *stacked.shape[4:]).flatten(0, 3)
        modality = vectors[None, :, None].expand(*shape, -1).flatten(0, 3)
        return self.network.run("R_D", anatomy, modality)[:, 0].unflatten(0, shape)

    def _parts_from_image_edges(self, batch: Batch, present: Tensor) -> dict[str, Tensor]:
        """Eq. 11 without disentangling (Table 7): x_i from its own edges; nothing to cross with."""
        net = self.network
        images = batch.images.flatten(0, 1)[:, None]
        restored = net.run("R_D", net.run("R_E", net.edges(images)), None)
        mask = batch.brain_mask.repeat_interleave(present.shape[1], dim=0)
        share = losses.shares(present).diagonal(dim1=1, dim2=2).flatten()[:, None, None]
        return {"rest": losses.image_error(restored[:, None], images, mask, share)}

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        return figures_of(self.network, _without_absent(batch), self.plans.sequences)

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return warnings_about(figures)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Per sequence that the first subject has: the input, and what `restore` makes of it."""
        names = self.plans.sequences
        here = [i for i, is_present in enumerate(batch.present[0].tolist()) if is_present]
        images = batch.images[0, here][:, None]
        mask = batch.brain_mask[:1].expand(len(here), -1, -1, -1, -1)
        found = restore(self.network, images, mask, here, lambda network, volume: network(volume))
        kinds = {"input": images, "anatomy": found.anatomy, "edges": found.edges}
        kinds["restored"] = found.image
        return {
            f"{names[i]} {kind}": volumes[place, 0]
            for place, i in enumerate(here)
            for kind, volumes in kinds.items()
            if volumes is not None
        }

    @torch.no_grad()
    def fit_viewer(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """The decoder of Fig. 4, from the code that a restoration starts from."""
        self.network.eval()

        def pairs() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for batch in batches:
                here = batch.present[0].nonzero()[:, 0].tolist()
                images = batch.images[0, here][:, None]
                mask = batch.brain_mask[:1].expand(len(here), -1, -1, -1, -1)
                found = restore(self.network, images, mask, here, lambda network, x: network(x))
                encoder, source = _encoded_by(found)
                assert found.anatomy is not None, "there is one where it is disentangled"
                yield self.network.run(encoder, source), found.anatomy, mask

        return {"code_decoder": fit_decoder(pairs())} if self.settings.disentangling else {}

    @torch.no_grad()
    def look_closer(
        self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile
    ) -> dict[str, Tensor]:
        """The anatomical image that R_E's code holds, by the decoder that was fitted apart."""
        weights = self.viewer.get("code_decoder")
        if weights is None:
            return {}
        self.network.eval()
        x, mask = image[None, None], brain_mask[None, None]
        place = self.plans.sequences.index(sequence)
        found = restore(self.network, x, mask, [place], tile)
        encoder, source = _encoded_by(found)
        decoded = tile(lambda part: decode(self.network.run(encoder, part), weights), source)
        return {"code decoded": (decoded * mask).clamp(0, 1)[0, 0]}

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Eq. 15 of the image and the pseudo-healthy one (Eq. 14, `restore`)."""
        self.network.eval()
        x, mask = image[None, None], brain_mask[None, None]
        place = self.plans.sequences.index(sequence)
        found = restore(self.network, x, mask, [place], tile)
        scoring = self.plans.scoring
        score = anomaly_score(
            x, found.image, kind=scoring.score, sigma_voxels=scoring.ssim_sigma_voxels
        )
        extras = {"anatomy": found.anatomy, "edges": found.edges}
        vectors = {}
        if found.modality is not None:
            after = self.network.run("E_M", halve(found.image))
            vectors = {"modality": found.modality[0], "modality restored": after[0]}
        return Detection(
            {"": (score * mask)[0, 0]},
            pseudo_healthy=found.image[0, 0],
            extras={name: volume[0, 0] for name, volume in extras.items() if volume is not None},
            vectors=vectors,
        )


def _encoded_by(found: Restored) -> tuple[str, Tensor]:
    """Which network makes the code of a restoration, and from what."""
    name, source = ("R_A", found.anatomy) if found.edges is None else ("R_E", found.edges)
    assert source is not None, "a restoration starts from edges or from the anatomy"
    return name, source


@cache
def _say_once(text: str) -> None:
    """Warn, once in this process."""
    logger.warning(text)


def _without_absent(batch: Batch) -> Batch:
    """The batch with 0, whatever was there, for sequences that a subject lacks."""
    present = batch.present[..., None, None, None]
    return replace(batch, images=torch.where(present, batch.images, 0))


def _check_sizes(configuration: ConfigurationPlan, factor: int) -> None:
    """The restorer doubles what the encoders halved: odd sizes would not come back."""
    for key in ("input_shape", "window"):
        shape = getattr(configuration, key)
        if any(size % factor for size in shape):
            rule = f"the code is {factor} times coarser: sizes must be multiples of {factor}"
            raise PlansError(f"configuration.{key}", shape, rule)
