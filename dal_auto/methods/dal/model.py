"""DAL: disentangled anatomy, edges, and the pseudo-healthy image restored from them.

"Unsupervised Anomaly Detection in Brain MRI via Disentangled Anatomy Learning", arXiv 2512.21924.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from types import MappingProxyType

import torch
from torch import Tensor

from dal_auto.errors import PlansError
from dal_auto.methods.dal import losses
from dal_auto.methods.dal.code_decoder import decode, fit_decoder
from dal_auto.methods.dal.contrast import fitted_contrast
from dal_auto.methods.dal.objective import Objective
from dal_auto.methods.dal.settings import ABLATIONS, PAIR_TERMS, DalSettings, settings_for
from dal_auto.methods.dal.sub_networks import Restored, SubNetworks, restore
from dal_auto.methods.dal.warm_start import mean_tissue_fractions
from dal_auto.methods.dal.watching import figures_of, warnings_about
from dal_auto.methods.method import Batch, Detection, GradientMethod, Illustrated, Tile
from dal_auto.networks.anatomy import halve
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.scoring.anomaly_score import (
    SCORE_WORDS,
    TOLERANT_WORDS,
    anomaly_score,
    one_sided,
    supported,
    tolerant_map,
)
from dal_auto.scoring.box_filters import kernel_voxels

logger = logging.getLogger(__name__)

#: The mean over more would hardly differ.
_SUBJECTS_OF_THE_PRIOR = 64


class DAL(Illustrated, GradientMethod):
    """The method; see the paper's Fig. 1."""

    name = "DAL"
    Settings = DalSettings
    settings: DalSettings
    network: SubNetworks
    memory_saver = "checkpoint_activations"
    preliminary_loss = "warm_start"
    learned_of_atlas = ("tissue_prior",)
    by_sequence = ("mean_modality", "mean_updates")
    ablations = ABLATIONS
    robust_training = MappingProxyType(
        {"corruption": (0.6, "lesions that are pasted in, and not wanted in the restored image")}
    )

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        _check_sizes(plans.configuration, 2**self.settings.downsamplings)
        self.network = SubNetworks(
            self.settings, len(plans.sequences), plans.configuration.input_shape
        )
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._on = self.settings.losses(len(plans.sequences))

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DalSettings:
        return settings_for(preset, configuration)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Losses (Eq. 5–11) and their sum (Eq. 13), Eq. 5–8 over all processes' subjects."""
        if len(self.plans.sequences) == 1:
            _say_once(
                f"{self.plans.sequences[0]} is the only sequence: {', '.join(PAIR_TERMS)} and the "
                "cross terms of Eq. 9 and 11 compare sequences, and are left out"
            )
        present = batch.present.to(batch.images.dtype)
        batch = _without_absent(batch)
        if not self.settings.disentangling:
            parts = self.objective.parts_from_image_edges(batch, present)
        elif step < self.settings.warm_start_steps:
            loss = self.objective.warm_start(batch, present)
            return {"loss": loss, "warm_start": loss}
        else:
            parts = self.objective.parts(batch, present, step)
        return {"loss": losses.total_loss(parts, self.settings.weights()), **parts}

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learn the cohort's mean tissue fractions by k-means, where they are not known."""
        prior = self.network.tissue_prior if self.settings.sees_atlas else None
        if prior is None or bool(prior.any()):
            return
        some = islice(batches, _SUBJECTS_OF_THE_PRIOR)
        fractions = mean_tissue_fractions(some, self.settings.classes, self._reference)
        if fractions is not None:
            prior.copy_(fractions)

    @property
    def _reference(self) -> int:
        """Place of the sequence whose intensities give classes where none are known."""
        names = self.plans.sequences
        return names.index("T1") if "T1" in names else 0

    @property
    def objective(self) -> Objective:
        """The losses, with the weights as they are."""
        plans, settings = self.plans, self.settings
        return Objective(
            self.network,
            terms=self._on,
            reference=self._reference,
            taught_steps=round(settings.teacher_forcing * plans.training.steps),
            spacing_mm=sum(plans.configuration.spacing_mm) / 3,
        )

    @torch.no_grad()
    def learn_atlas(self, tissue_fractions: Tensor) -> None:
        """Keep the cohort's mean tissue fractions, which R_E sees."""
        if self.settings.sees_atlas and self.settings.classes == len(tissue_fractions):
            self.network.tissue_prior.copy_(tissue_fractions[None])

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        return figures_of(self.network, _without_absent(batch), self.plans.sequences)

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return warnings_about(figures, self.settings.edges)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Per sequence that the first subject has: the input, and what `restore` makes of it."""
        names = self.plans.sequences
        present = [i for i, is_present in enumerate(batch.present[0].tolist()) if is_present]
        images = batch.images[0, present][:, None]
        mask = batch.brain_mask[:1].expand(len(present), -1, -1, -1, -1)
        restoration = restore(
            self.network, images, mask, present, lambda network, volume: network(volume)
        )
        kinds = {"input": images, "anatomy": restoration.anatomy, "edges": restoration.edges}
        kinds["restored"] = restoration.image
        return {
            f"{names[i]} {kind}": volumes[place, 0]
            for place, i in enumerate(present)
            for kind, volumes in kinds.items()
            if volumes is not None
        }

    @torch.no_grad()
    def fit_figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """The decoder of Fig. 4, from the code that a restoration starts from."""
        self.network.eval()

        def pairs() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for batch in batches:
                present = batch.present[0].nonzero()[:, 0].tolist()
                images = batch.images[0, present][:, None]
                mask = batch.brain_mask[:1].expand(len(present), -1, -1, -1, -1)
                restoration = restore(
                    self.network, images, mask, present, lambda network, x: network(x)
                )
                assert restoration.anatomy is not None, "there is one where it is disentangled"
                encoder, source = self._encoded_by(restoration)
                yield self.network.run(encoder, source, brain=mask), restoration.anatomy, mask

        return {"code_decoder": fit_decoder(pairs())} if self.settings.disentangling else {}

    @torch.no_grad()
    def figure_volumes(
        self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile
    ) -> dict[str, Tensor]:
        """The anatomical image that R_E's code holds, by the decoder that was fitted apart."""
        weights = self.figure_tensors.get("code_decoder")
        if weights is None:
            return {}
        self.network.eval()
        x, mask = image[None, None], brain_mask[None, None]
        place = self.plans.sequences.index(sequence)
        restoration = restore(self.network, x, mask, [place], tile)
        encoder, source = self._encoded_by(restoration)

        def decoded_part(part: Tensor) -> Tensor:
            code = self.network.run(encoder, part[:, :-1], brain=part[:, -1:])
            return decode(code, weights)

        decoded = tile(decoded_part, torch.cat([source, mask], dim=1))
        return {"code decoded": (decoded * mask).clamp(0, 1)[0, 0]}

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Eq. 15 of the image and the pseudo-healthy one (Eq. 14, `restore`)."""
        self.network.eval()
        x, mask = image[None, None], brain_mask[None, None]
        place = self.plans.sequences.index(sequence)
        restoration = restore(self.network, x, mask, [place], tile)
        restored = restoration.image
        if self.settings.fitted_contrast:
            restored = fitted_contrast(restored, x, mask)
        score = self.score(x, restored, mask, sequence)
        extras = {"anatomy": restoration.anatomy, "edges": restoration.edges}
        vectors = {}
        if restoration.modality is not None:
            after = self.network.run("E_M", halve(restored), brain=mask)
            vectors = {"modality": restoration.modality[0], "modality restored": after[0]}
        return Detection(
            {"": score[0, 0]},
            pseudo_healthy=restored[0, 0],
            extras={name: volume[0, 0] for name, volume in extras.items() if volume is not None},
            vectors=vectors,
        )

    def score(self, image: Tensor, restored: Tensor, mask: Tensor, sequence: str) -> Tensor:
        """Eq. 15, or what the settings say for this sequence.

        Parameters
        ----------
        image, restored : (1, 1, x, y, z) on the configuration's grid, in [0, 1]
        mask : (1, 1, x, y, z), 0 or 1, the brain

        Returns
        -------
        (1, 1, x, y, z) ≥ 0, 0 outside the brain
        """
        settings, scoring = self.settings, self.plans.scoring
        polarity = settings.polarity.get(sequence)
        if sequence in settings.tolerant:
            score = tolerant_map(image, restored, mask)
            return one_sided(score, image, restored, polarity)
        score = anomaly_score(
            image,
            restored,
            kind=scoring.score,
            sigma_voxels=scoring.ssim_sigma_voxels,
            power=settings.difference_power,
        )
        score = one_sided(score, image, restored, polarity) * mask
        spacing_mm = self.plans.configuration.spacing_mm
        return supported(score, kernel_voxels(settings.neighbourhood_mm, spacing_mm))

    def score_words(self, sequence: str) -> str:
        settings, kind = self.settings, self.plans.scoring.score
        if sequence in settings.tolerant:
            words = TOLERANT_WORDS
        else:
            words = SCORE_WORDS[kind]
            if kind == "hybrid" and settings.difference_power != 1:
                words += f", the first factor to the power of {settings.difference_power:g}"
            if settings.neighbourhood_mm:
                words += f"; supported by its mean within {settings.neighbourhood_mm:g} mm"
        polarity = settings.polarity.get(sequence)
        side = {"bright": "brighter", "dark": "darker"}
        return words + (f", where the image is {side[polarity]}; 0 elsewhere" if polarity else "")

    def _encoded_by(self, restoration: Restored) -> tuple[str, Tensor]:
        """Which network makes the code of a restoration, and from what."""
        if restoration.edges is not None:
            assert restoration.anatomy is not None, "only what is disentangled is decoded"
            return "R_E", self.network.restorer_input(restoration.anatomy)
        assert restoration.anatomy is not None, (
            "a restoration starts from edges or from the anatomy"
        )
        return "R_A", restoration.anatomy


@cache
def _say_once(text: str) -> None:
    """Warn, once in this process."""
    logger.warning(text)


def _without_absent(batch: Batch) -> Batch:
    """The batch with 0, whatever was there, for sequences that a subject lacks."""
    present = batch.present[..., None, None, None]
    clean = None if batch.clean is None else torch.where(present, batch.clean, 0)
    images = torch.where(present, batch.images, 0)
    return replace(batch, images=images, clean=clean)


def _check_sizes(configuration: ConfigurationPlan, factor: int) -> None:
    """The restorer doubles what the encoders halved: odd sizes would not come back."""
    for key in ("input_shape", "window"):
        shape = getattr(configuration, key)
        if any(size % factor for size in shape):
            rule = f"the code is {factor} times coarser: sizes must be multiples of {factor}"
            raise PlansError(f"configuration.{key}", shape, rule)
