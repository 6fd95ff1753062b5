"""DAL: disentangled anatomy, edges, and the pseudo-healthy image restored from them.

"Unsupervised Anomaly Detection in Brain MRI via Disentangled Anatomy Learning", arXiv 2512.21924.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dal_auto.errors import PlansError
from dal_auto.methods.dal import losses
from dal_auto.methods.dal.settings import DalSettings, settings_for
from dal_auto.methods.dal.warm_start import warm_start_loss
from dal_auto.methods.method import Batch, Detection, GradientMethod, Tile
from dal_auto.networks.anatomy import (
    AnatomyExtractor,
    differentiable_one_hot,
    halve,
    merge_channels,
)
from dal_auto.networks.canny import canny_edges
from dal_auto.networks.modality import ModalityExtractor
from dal_auto.networks.restoration import CodeEncoder, RepresentationCombiner
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.scoring.anomaly_score import anomaly_score

#: Least share of the brain in a tissue class; below it the anatomy has collapsed.
_LEAST_OCCUPANCY = 0.02


class Networks(nn.Module):
    """The five sub-networks, named as in the paper."""

    def __init__(self, settings: DalSettings) -> None:
        super().__init__()
        self.E_A = AnatomyExtractor(settings.anatomy_widths, settings.classes)
        self.E_M = ModalityExtractor(settings.modality_widths, settings.modality_pooled)
        encoder = (settings.code_channels, settings.downsamplings, settings.context_widths)
        self.R_A = CodeEncoder(*encoder)
        self.R_E = CodeEncoder(*encoder)
        self.R_D = RepresentationCombiner(
            settings.code_channels, settings.downsamplings, self.E_M.length
        )


class DAL(GradientMethod):
    """The method; see the paper's Fig. 1."""

    name = "DAL"
    Settings = DalSettings
    settings: DalSettings
    network: Networks

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        _check_sizes(plans.configuration, 2**self.settings.downsamplings)
        self.network = Networks(self.settings)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DalSettings:
        return settings_for(preset, configuration)

    def edges(self, anatomy: Tensor) -> Tensor:
        """E = Canny(A): (N, 1, x, y, z) → the same shape, 0 or 1, without gradient."""
        s = self.settings
        return canny_edges(
            anatomy,
            sigma_voxels=s.canny_sigma_voxels,
            low=s.canny_low,
            high=s.canny_high,
            hysteresis_steps=s.canny_hysteresis_steps,
        )

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        net, s = self.network, self.settings
        subjects, sequences = batch.images.shape[:2]
        images = _channels_last(batch.images.flatten(0, 1)[:, None])
        mask = batch.brain_mask.repeat_interleave(sequences, dim=0)
        logits = net.E_A(images)
        if step < s.warm_start_steps:
            by_subject = logits.unflatten(0, (subjects, sequences))
            reference = self.plans.sequences.index("T1") if "T1" in self.plans.sequences else 0
            loss = warm_start_loss(by_subject, batch.images, batch.brain_mask, reference)
            return {"loss": loss, "warm_start": loss}

        one_hot = differentiable_one_hot(logits) * mask
        anatomy = merge_channels(one_hot, mask)
        vectors = net.E_M(halve(images))
        encoded, restored = net.R_A(anatomy), net.R_E(self.edges(anatomy))
        by_subject = vectors.unflatten(0, (subjects, sequences))
        # One call of R_D for both codes and all (i, j): [code, p, i, j].
        codes = torch.stack([encoded, restored]).unflatten(1, (subjects, sequences))
        codes = codes[:, :, :, None].expand(-1, -1, -1, sequences, -1, -1, -1, -1)
        modality = by_subject[None, :, None].expand(2, -1, sequences, -1, -1)
        combined = net.R_D(_channels_last(codes.flatten(0, 3)), modality.flatten(0, 3))
        combined = combined[:, 0].unflatten(0, (2, subjects, sequences, sequences))
        combined = combined * batch.brain_mask[None, :, :, None]

        compared = (one_hot if s.similarity_of == "onehot" else anatomy).unflatten(
            0, (subjects, sequences)
        )
        parts = {
            "recon": losses.image_error(combined[0], batch.images, batch.brain_mask),
            "rest": losses.image_error(combined[1], batch.images, batch.brain_mask),
            "con_A": losses.anatomy_consistency(compared),
            "sim_A": losses.anatomy_similarity(compared, s.margin_anatomy),
            "con_M": losses.modality_consistency(by_subject),
            "sim_M": losses.modality_similarity(by_subject, s.margin_modality),
            "con_AE": losses.code_consistency(
                restored, encoded, normalised=s.code_consistency == "normalised"
            ),
        }
        loss = (
            s.weight_reconstruction * (parts["recon"] + parts["rest"])
            + s.weight_anatomy * (parts["con_A"] + parts["sim_A"])
            + s.weight_modality * (parts["con_M"] + parts["sim_M"])
            + s.weight_code * parts["con_AE"]
        )
        return {"loss": loss, **parts}

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Occupancy of each class, agreement of the sequences' labels, edge density, code scale."""
        images = _channels_last(batch.images.flatten(0, 1)[:, None])
        sequences = batch.images.shape[1]
        mask = batch.brain_mask.repeat_interleave(sequences, dim=0)
        labels = self.network.E_A(images).argmax(dim=1, keepdim=True)
        inside = mask > 0
        figures = {
            f"occupancy_{c + 1}": (labels[inside] == c).float().mean()
            for c in range(self.settings.classes)
        }
        if sequences > 1:
            by_subject = labels.unflatten(0, (-1, sequences))
            agree = (by_subject[:, :1] == by_subject[:, 1:]).float().mean(dim=1)
            figures["label_agreement"] = (agree * batch.brain_mask).sum() / batch.brain_mask.sum()
        anatomy = (labels + 1) / self.settings.classes * mask
        edges = self.edges(anatomy)
        figures["edge_density"] = edges[inside].mean()
        figures["code_std"] = self.network.R_A(anatomy).std()
        return figures

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        found = [
            f"anatomy has collapsed: class {name[-1]} holds {value:.1%} of the brain. Try "
            "method.settings.similarity_of=onehot, more method.settings.warm_start_steps, or a "
            "lower training.learning_rate"
            for name, value in figures.items()
            if name.startswith("occupancy_") and value < _LEAST_OCCUPANCY
        ]
        if figures.get("code_std", 1.0) < 1e-3:
            found.append("codes have shrunk: try method.settings.code_consistency=normalised")
        return found

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Eq. 14 and 15: anatomy in windows, edges and modality of the whole brain, restoration."""
        net = self.network.eval()
        x, mask = image[None, None], brain_mask[None, None]
        anatomy = merge_channels(differentiable_one_hot(tile(net.E_A, x)), mask)
        edges = self.edges(anatomy)
        modality = net.E_M(halve(x))
        restored = tile(lambda e: net.R_D(net.R_E(e), modality.expand(len(e), -1)), edges) * mask
        restored = restored.clamp(0, 1)
        scoring = self.plans.scoring
        score = anomaly_score(
            x, restored, kind=scoring.score, sigma_voxels=scoring.ssim_sigma_voxels
        )
        return Detection(
            {"": (score * mask)[0, 0]},
            pseudo_healthy=restored[0, 0],
            extras={"anatomy": anatomy[0, 0], "edges": edges[0, 0]},
            vectors={"modality": modality[0], "modality restored": net.E_M(halve(restored))[0]},
        )


def _check_sizes(configuration: ConfigurationPlan, factor: int) -> None:
    """The restorer doubles what the encoders halved: odd sizes would not come back."""
    for key in ("input_shape", "window"):
        shape = getattr(configuration, key)
        if any(size % factor for size in shape):
            rule = f"the code is {factor} times coarser: sizes must be multiples of {factor}"
            raise PlansError(f"configuration.{key}", shape, rule)


def _channels_last(volumes: Tensor) -> Tensor:
    """The memory layout that convolutions on CPU and GPU are fastest with."""
    return volumes.contiguous(memory_format=torch.channels_last_3d)
